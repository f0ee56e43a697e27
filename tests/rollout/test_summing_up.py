"""Numbers of evaluation episodes, up to their end, and of the steps of a rollout."""

import pytest
import torch

from rlft.envs import PointReach
from rlft.envs.initial_states import EVALUATION
from rlft.rollout import LocalRollouts, make_rollouts
from rlft.rollout.summing_up import SummingUp
from rlft.types import Behaviour, EnvSpec, EpisodeResults, Measure
from tests.support.rollouts import policy
from tests.support.telling import BEHAVIOUR, TellingReach

MEASURES = [
    ("least", "a", "min"),
    ("most", "a", "max"),
    ("middle", "a", "mean"),
    ("end", "a", "last"),
    ("b", "b", "mean"),
]
SPEC = EnvSpec(
    "T",
    1,
    1,
    -torch.ones(1),
    torch.ones(1),
    4,
    info=("b", "a"),
    behaviour=Behaviour(tuple(Measure(*m) for m in MEASURES)),
)


def test_what_runs_after_the_end_does_not_count():
    """Two episodes of a = 3, 1, 2, 9, of which the second ends with its second step; b is a tenth of it."""
    up = SummingUp(SPEC, 2)
    running = torch.ones(2, dtype=torch.bool)
    for t, a in enumerate((3.0, 1.0, 2.0, 9.0)):
        up.add(torch.tensor([[a / 10, a]] * 2), running)
        running = running & torch.tensor([True, t < 1])
    found = up.result(torch.tensor([4, 2]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 9.0, 3.75, 9.0, 0.375], [1.0, 3.0, 2.0, 1.0, 0.2]]))


def test_numbers_that_are_bad_after_the_end_do_no_harm():
    up = SummingUp(SPEC, 1)
    up.add(torch.tensor([[0.5, 1.0]]), torch.tensor([True]))
    up.add(torch.full((1, 2), torch.nan), torch.tensor([False]))
    assert up.result(torch.tensor([1])).tolist() == [[1, 1, 1, 1, 0.5]]


def test_evaluation_episodes_are_summed_up_as_one_by_one():
    actor, count = policy(), 12
    found = LocalRollouts(TellingReach(), 5).evaluate(actor, count, seed=3, deterministic=True)
    assert (found.length < 20).any()
    assert (found.length == 20).any()
    env = TellingReach().make(1)
    bank = LocalRollouts(TellingReach(), 1).worker.bank
    for e in range(count):
        state = bank.get(EVALUATION, 3, [e])
        env.restore([0], state)
        obs, told = state.obs, []
        for _ in range(int(found.length[e])):
            step = env.step(actor.mode(obs).clamp(-1, 1))
            obs = step.obs
            told.append(step.info[0, :2])
        distance, moved = torch.stack(told).detach().T
        expected = torch.stack([distance.min(), distance.max(), moved.mean(), distance[-1]])
        torch.testing.assert_close(found.behaviour[e], expected, atol=1e-5, rtol=1e-5)


def test_it_is_the_same_in_worker_processes():
    rollouts = make_rollouts(TellingReach(), 6, 2)
    try:
        assert rollouts.spec.behaviour == BEHAVIOUR
        found = rollouts.evaluate(policy(), 9, seed=1, deterministic=False)
    finally:
        rollouts.close()
    alone = LocalRollouts(TellingReach(), 6).evaluate(policy(), 9, seed=1, deterministic=False)
    assert torch.equal(found.behaviour, alone.behaviour)


def test_what_tells_nothing_has_a_width_of_0():
    rollouts = LocalRollouts(PointReach(), 4)
    assert rollouts.evaluate(policy(), 6, seed=1, deterministic=True).behaviour.shape == (6, 0)
    rollout, *_ = rollouts.collect(policy(), rollouts.initial_states(1), 5, 1, 0)
    assert rollout.info.shape == (5, 4, 0)
    assert EpisodeResults(*torch.zeros(4, 3)).behaviour.shape == (3, 0)


def test_telling_changes_nothing_else():
    told, untold = (LocalRollouts(TellingReach(told=told), 4) for told in (True, False))
    results = [one.evaluate(policy(), 6, seed=1, deterministic=False) for one in (told, untold)]
    for name in ("success_once", "episode_return", "length"):
        assert torch.equal(getattr(results[0], name), getattr(results[1], name))


@pytest.mark.parametrize("prefix", ["reward/", "reward_input/"])
def test_columns_by_prefix(prefix):
    spec = TellingReach().make(1).spec
    assert (
        spec.named(prefix) == {"reward/": {"goal": 2, "near": 3}, "reward_input/": {"distance": 4, "goal": 5}}[prefix]
    )
