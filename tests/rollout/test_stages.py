"""Rollouts whose episodes begin in stages: the same in any number of processes, and over an interruption."""

import pytest
import torch

from rlft.envs.initial_states import TRAINING, InitialStates, stage_of
from rlft.errors import UserError
from rlft.rollout import LocalRollouts, ProcessRollouts
from rlft.types import EnvStates, Rollout, StartMixture
from tests.support.rollouts import assert_equal, policy
from tests.support.staged import StagedReach

ENV, ENVS, SEED = StagedReach(horizon=12), 6, 7
FIRST, SECOND = StartMixture(("closer",), (0.6,)), StartMixture(("close", "closer"), (0.4, 0.4))


def play(rollouts):
    """Two rollouts with different mixtures."""
    states = rollouts.initial_states(SEED, FIRST)
    one, states, _ = rollouts.collect(policy(), states, 25, SEED, 0, starts=FIRST)
    two, states, _ = rollouts.collect(policy(), states, 25, SEED, 1, starts=SECOND)
    return Rollout.cat([one, two]), states


@pytest.fixture(scope="module")
def local():
    return play(LocalRollouts(ENV, ENVS))


def test_any_number_of_processes_is_one(local):
    workers = ProcessRollouts(ENV, ENVS, 3)
    rollout, states = play(workers)
    workers.close()
    assert_equal(rollout, local[0])
    assert_equal(states, local[1])


def test_episodes_begin_where_the_mixture_of_their_rollout_says(local):
    rollout, states = local
    bank = InitialStates(ENV)
    seen = set()
    for n in range(ENVS):
        number = n
        begins = [0, *(rollout.done[:-1, n].nonzero().flatten() + 1).tolist()]
        for t in begins:
            starts = (
                FIRST if t <= 24 or (t == 25 and rollout.done[24, n]) else SECOND
            )  # decided where the last one ends
            fresh = bank.get(TRAINING, SEED, [number], starts)
            assert torch.equal(rollout.obs.state[t, n], fresh.obs.state[0])
            seen.add((starts, stage_of(starts, SEED, number)))
            number += ENVS
    assert {stage for _, stage in seen} == {"", "close", "closer"}
    assert states.episode.max() > ENVS


def test_evaluation_begins_as_the_task_has_it():
    rollouts, plain = LocalRollouts(ENV, ENVS), LocalRollouts(ENV, ENVS)
    rollouts.collect(policy(), rollouts.initial_states(SEED, FIRST), 25, SEED, 0, starts=FIRST)
    one, other = (r.evaluate(policy(), 9, seed=3, deterministic=True) for r in (rollouts, plain))
    assert_equal(one, other)


def test_a_mixture_changes_no_episode_that_runs():
    rollouts = LocalRollouts(ENV, ENVS)
    states = rollouts.initial_states(SEED)
    one, other = (rollouts.collect(policy(), states, 5, SEED, 0, starts=starts)[0] for starts in (None, FIRST))
    running = ~one.done.cumsum(0).bool()
    assert torch.equal(one.obs.state[running], other.obs.state[running])


def test_a_stage_that_cannot_be_reached_is_a_mistake_of_the_user_also_in_a_worker():
    workers = ProcessRollouts(ENV, ENVS, 2)
    with pytest.raises(UserError, match="stage 'nowhere' of PointReach"):
        workers.initial_states(SEED, StartMixture(("nowhere",), (1.0,)))
    assert isinstance(LocalRollouts(ENV, 2).initial_states(1), EnvStates)
