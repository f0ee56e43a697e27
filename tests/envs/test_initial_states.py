import pytest
import torch

from rlft.envs import PointReach
from rlft.envs.initial_states import BLOCK, EVALUATION, TRAINING, InitialStates
from tests.support.rollouts import assert_equal


@pytest.fixture
def bank():
    return InitialStates(PointReach())


def test_an_episode_number_means_the_same_whatever_is_asked_for(bank):
    numbers = [0, 3, BLOCK - 1, BLOCK, 5 * BLOCK + 1]
    together = bank.get(TRAINING, 1, numbers)
    fresh = InitialStates(PointReach())
    for i in reversed(range(len(numbers))):
        assert_equal(fresh.get(TRAINING, 1, [numbers[i]]), together[[i]])
    assert together.episode.tolist() == numbers
    assert not together.elapsed.any()


def test_episodes_seeds_and_streams_differ(bank):
    starts = [
        bank.get(stream, seed, range(2 * BLOCK)).obs.state for stream in (TRAINING, EVALUATION) for seed in (0, 1)
    ]
    assert len(torch.cat(starts).unique(dim=0)) == 4 * 2 * BLOCK


def test_handed_out_states_are_copies(bank):
    bank.get(TRAINING, 1, [2]).obs.state.zero_()
    assert bank.get(TRAINING, 1, [2]).obs.state.any()
