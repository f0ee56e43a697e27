import pytest
import torch

from rlft.envs import PointReach
from tests.support.rollouts import assert_equal


@pytest.fixture
def env():
    return PointReach().make(4)


def test_a_saved_state_restores_into_any_row(env):
    states = env.initial_states(5)
    action = torch.rand(4, 2) * 2 - 1
    step = env.step(action)
    other = PointReach().make(4)
    order = [2, 0, 3, 1]
    other.restore(order, states)  # row order[i] is in state i
    replayed = other.step(action.clone()[torch.tensor(order).argsort()])
    assert_equal(replayed[order], step)


def test_inactive_points_stay_where_they_are(env):
    states = env.initial_states(5)
    env.activate(range(1))
    env.step(torch.ones(4, 2))
    physics, _ = env.save(range(4))
    assert not torch.equal(physics[0], states.physics[0])
    assert torch.equal(physics[1:], states.physics[1:])


def test_moves_are_bounded_by_the_square_and_success_by_the_radius(env):
    env.initial_states(5)
    for _ in range(30):
        step = env.step(torch.ones(4, 2))
    assert torch.equal(step.obs.state[:, :2], torch.ones(4, 2))
    assert torch.equal(step.success, step.obs.state[:, 4:].norm(dim=1) <= 0.2)
