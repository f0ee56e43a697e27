import pytest
import torch

from rlft.errors import UserError
from rlft.types import EnvStates, EpisodeResults, Obs, RecordedEpisodes
from rlft.videos.choice import Choice
from rlft.videos.film import Take
from tests.support.hand_made import is_sentence

FAILED = [1, 2, 5, 6, 9]


def played(numbers):
    """Episodes that did nothing."""
    count = len(numbers)
    success = torch.tensor([number not in FAILED for number in numbers])
    results = EpisodeResults(success, success, torch.zeros(count), torch.ones(count, dtype=torch.int64))
    episode = torch.tensor(numbers)[:, None].expand(-1, 2)
    nothing = torch.zeros(count, 2, 0)
    states = EnvStates(nothing, nothing, Obs(nothing), torch.zeros_like(episode), episode)
    return RecordedEpisodes(results, states, success[:, None])


@pytest.mark.parametrize(
    ("choice", "to_play", "numbers"),
    [
        (Choice(), [0, 1, 2, 3], [0, 1, 2, 3]),
        (Choice("first", 2), [0, 1], [0, 1]),
        (Choice("failed", among=10), list(range(10)), [1, 2, 5, 6]),
        (Choice("failed", 9, among=10), list(range(10)), FAILED),  # there are no more
        (Choice((7, 3)), [7, 3], [7, 3]),
    ],
)
def test_which_episodes_and_what_has_to_be_played_for_that(choice, to_play, numbers):
    assert list(choice.to_play) == to_play
    assert Take("weak", choice.of(played(to_play), "weak")).numbers == numbers


def test_a_policy_that_never_fails_has_no_failures():
    with pytest.raises(UserError, match="among") as refused:
        Choice("failed", among=3).of(played([0, 3, 4]), "weak")
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"episodes": 0}, "--episodes is 0"),
        ({"among": 0}, "--among is 0"),
        ({"among": 500}, "it is of use only with --which failed"),
        ({"which": (3, 4), "among": 500}, "it is of use only with --which failed"),
        ({"which": ()}, "--which"),
        ({"which": (3, -1)}, "--which"),
        ({"which": (3, 3)}, "different"),
        ({"which": (3, 4), "episodes": 2}, "--episodes"),
    ],
)
def test_what_means_nothing_is_refused(wrong, words):
    with pytest.raises(UserError, match=words) as refused:
        Choice(**wrong)
    assert is_sentence(str(refused.value))
