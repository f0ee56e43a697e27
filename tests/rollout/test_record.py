"""Episodes with their states kept are those of the evaluation."""

import pytest
import torch

from rlft.envs import PointReach
from rlft.envs.initial_states import EVALUATION, InitialStates
from rlft.rollout import LocalRollouts, ProcessRollouts
from tests.support.hand_made import ConstantActor
from tests.support.rollouts import assert_equal, policy

ENV, SEED = PointReach(horizon=12, radius=0.3), 3
EPISODES = [9, 2, 30, 4, 11]


@pytest.fixture(scope="module")
def rollouts():
    return LocalRollouts(ENV, 3)


@pytest.mark.parametrize("deterministic", [True, False])
def test_recorded_episodes_are_those_that_are_evaluated(rollouts, deterministic):
    evaluated = LocalRollouts(ENV, 16).evaluate(policy(), 31, seed=SEED, deterministic=deterministic)
    recorded = rollouts.record(policy(), EPISODES, seed=SEED, deterministic=deterministic)
    assert_equal(recorded.results, evaluated[EPISODES])
    assert 0 < recorded.results.success_once.sum() < len(EPISODES)
    assert torch.equal(recorded.success.any(1), recorded.results.success_once)


def test_their_states_lead_from_one_to_the_next(rollouts):
    actor = ConstantActor([0.5, 0.2])
    recorded = rollouts.record(actor, EPISODES, seed=SEED, deterministic=True)
    states, env = recorded.states, ENV.make(1)
    assert states.elapsed.tolist() == [list(range(13))] * len(EPISODES)
    assert states.episode[:, 5].tolist() == EPISODES
    assert_equal(states[:, 0], InitialStates(ENV).get(EVALUATION, SEED, EPISODES))
    for row in range(len(EPISODES)):
        for t in range(12):
            env.restore([0], states[[row]][:, t])
            step = env.step(torch.tensor([[0.5, 0.2]]))
            assert torch.equal(step.obs.state[0], states.obs.state[row, t + 1])
            assert torch.equal(env.save([0])[0][0], states.physics[row, t + 1])
            assert bool(step.success) == bool(recorded.success[row, t])


def test_any_number_of_workers_records_the_same(rollouts):
    ours = rollouts.record(policy(), EPISODES, seed=SEED, deterministic=False)
    workers = ProcessRollouts(ENV, 7, 2)
    try:
        assert_equal(workers.record(policy(), EPISODES, seed=SEED, deterministic=False), ours)
    finally:
        workers.close()


def test_recording_does_not_disturb_a_later_rollout(rollouts):
    states = rollouts.initial_states(1)
    undisturbed = rollouts.collect(policy(), states, 10, 1, 0)
    rollouts.record(policy(), [1, 2], seed=SEED, deterministic=True)
    for first, second in zip(undisturbed, rollouts.collect(policy(), states, 10, 1, 0), strict=True):
        assert_equal(first, second)
