"""Starts in stages: what an episode number means does not depend on who asks for it, when, and for what else."""

from collections import Counter

import pytest
import torch

from rlft.envs import PointReach
from rlft.envs.initial_states import ATTEMPTS, BLOCK, EVALUATION, STAGED, STAGES, TRAINING, InitialStates, stage_of
from rlft.errors import UserError
from rlft.types import EnvStates, StartMixture
from tests.support.hand_made import is_sentence
from tests.support.rollouts import assert_equal
from tests.support.staged import STEPS, WITHIN, StagedReach

ENV = StagedReach()
HALF = StartMixture(("close", "closer"), (0.3, 0.2))
ALL = StartMixture(("closer",), (1.0,))


def distances(states):
    return states.obs.state[:, 4:].norm(dim=1)


def test_an_episode_number_means_the_same_whatever_is_asked_for():
    numbers = [0, 3, 70, 64, 517]
    together = InitialStates(ENV).get(TRAINING, 1, numbers, HALF)
    other = InitialStates(ENV)
    other.get(TRAINING, 1, range(5), StartMixture(("closer", "close"), (0.5, 0.5)))  # in another order
    for i in reversed(range(len(numbers))):
        assert_equal(other.get(TRAINING, 1, [numbers[i]], HALF), together[[i]])
    assert together.episode.tolist() == numbers
    assert not together.elapsed.any()


def test_starts_are_of_the_stage_that_seed_and_number_choose():
    bank, plain, numbers = InitialStates(ENV), InitialStates(PointReach()), range(300)
    states = bank.get(TRAINING, 1, numbers, HALF)
    chosen = [stage_of(HALF, 1, number) for number in numbers]
    for number, stage in enumerate(chosen):
        if stage:
            assert ENV.radius < distances(states)[number] < WITHIN[stage]
            assert (states.obs.state[number, 2:4] == 0).all()
        else:
            assert_equal(states[[number]], plain.get(TRAINING, 1, [number]))
    assert chosen != [stage_of(HALF, 2, number) for number in numbers]


def test_stages_are_as_frequent_as_the_mixture_says():
    counts = Counter(stage_of(HALF, 7, number) for number in range(20_000))
    for stage, share in {"close": 0.3, "closer": 0.2, "": 0.5}.items():
        assert abs(counts[stage] / 20_000 - share) < 5 * 0.0036
    assert {stage_of(None, 7, number) for number in range(100)} == {""}
    assert {stage_of(ALL, 7, number) for number in range(100)} == {"closer"}


def test_a_mixture_of_the_same_parts():
    assert StartMixture.even(("a", "b"), 0.5) == StartMixture(("a", "b"), (0.25, 0.25))
    assert [StartMixture.even(("a", "b"), 0.5).at(place) for place in (0, 0.24, 0.25, 0.49, 0.5, 0.99)] == [
        *"aabb",
        "",
        "",
    ]


def test_resets_that_do_not_lead_into_a_stage_are_replaced_by_the_next_ones():
    """By hand: what is left of two and more blocks, in their order, is what episodes are given."""
    resets, batch, found = InitialStates(ENV), ENV.make(BLOCK), []
    for block in range(ATTEMPTS):
        states = resets.get(STAGES, 1, range(block * BLOCK, (block + 1) * BLOCK))
        batch.restore(range(BLOCK), states)
        for _ in range(STEPS["closer"]):
            way = batch._obs().state[:, 4:]
            batch.step((way / ENV.speed).clamp(-1, 1))
        away = batch._obs().state[:, 4:].norm(dim=1)
        found.append(batch._obs().state[(away > ENV.radius) & (away < 0.8)][:, [0, 1, 4, 5]])
    expected = torch.cat(found)[:STAGED]
    assert len(found[0]) < BLOCK
    assert len(expected) == STAGED
    got = InitialStates(ENV).get(TRAINING, 1, range(2000), ALL).obs.state[:, [0, 1, 4, 5]]
    assert {tuple(row) for row in got.tolist()} == {tuple(row) for row in expected.tolist()}


def test_evaluation_and_ordinary_starts_know_of_no_stage():
    staged, plain = InitialStates(ENV), InitialStates(PointReach())
    staged.get(TRAINING, 1, range(9), ALL)
    for stream in (TRAINING, EVALUATION):
        assert_equal(staged.get(stream, 1, range(70)), plain.get(stream, 1, range(70)))


def test_an_episode_goes_on_from_a_stage_as_from_any_state():
    states = InitialStates(ENV).get(TRAINING, 1, range(4), ALL)
    one, other = ENV.make(4), ENV.make(6)
    one.restore(range(4), states)
    other.restore([5, 0, 3, 1], EnvStates.cat([states]))
    action = torch.full((6, 2), 0.5)
    assert torch.equal(one.step(action[:4]).obs.state, other.step(action).obs.state[[5, 0, 3, 1]])


def test_a_stage_that_cannot_be_reached_is_refused():
    with pytest.raises(
        UserError, match="Of 512 preludes of stage 'nowhere' of PointReach only 0 ended in it"
    ) as refused:
        InitialStates(ENV).get(TRAINING, 1, [0], StartMixture(("nowhere",), (1.0,)))
    assert is_sentence(str(refused.value))
