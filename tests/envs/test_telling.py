"""What a task may tell, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from rlft.envs.maniskill.telling import behaviour_of, entries_told, reward_definition
from rlft.errors import UserError
from rlft.types import NO_BEHAVIOUR, Behaviour, Failure, Measure
from tests.support.hand_made import is_sentence

FARTHEST = {"farthest": ("moved", "max")}


def task(**told):
    return SimpleNamespace(**told)


def test_a_task_tells_by_two_attributes():
    failures = [("never_moves_it", {"farthest": (None, 0.001)}), ("does_not_get_far", {})]
    expected = Behaviour(
        (Measure("farthest", "moved", "max"),),
        (Failure("never_moves_it", {"farthest": (None, 0.001)}), Failure("does_not_get_far", {})),
    )
    assert behaviour_of("T-v1", task(behaviour=FARTHEST, failures=failures)) == expected
    assert behaviour_of("T-v1", task()) == NO_BEHAVIOUR


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"behaviour": ["moved"]}, "behaviour must be like"),
        ({"behaviour": {"farthest": "moved"}}, "behaviour must be like"),
        (
            {"behaviour": {"farthest": ("moved", "median")}},
            "farthest is summed up by 'median'; choose one of mean, min",
        ),
        ({"behaviour": {"how far": ("moved", "max")}}, "'how far' of behaviour or failures must be a word"),
        (
            {"failures": [("stays", {"farthest": (None, 1)})]},
            "failures stays asks for farthest; its behaviour has none",
        ),
        ({"failures": [("stays", {"farthest": 1})]}, "behaviour must be like"),
    ],
)
def test_other_forms_are_refused(told, words):
    with pytest.raises(UserError, match=words) as refused:
        behaviour_of("T-v1", task(**told))
    assert is_sentence(str(refused.value))
    assert "Task T-v1" in str(refused.value)


def test_entries_of_info_are_those_asked_for_and_those_of_the_reward():
    info = {"success": torch.zeros(3), "moved": torch.zeros(3), "reward/reach": torch.zeros(3), "other": "text"}
    info["reward_input/distance"] = torch.zeros(3)
    behaviour = behaviour_of("T-v1", task(behaviour={**FARTHEST, "at_end": ("moved", "last")}))
    assert entries_told("T-v1", behaviour, info, 3) == ("moved", "reward/reach", "reward_input/distance")
    assert entries_told("T-v1", NO_BEHAVIOUR, {"success": torch.zeros(3)}, 3) == ()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, "'moved' of a step's info is not there"),
        ({"moved": 0.5}, "'moved' of a step's info is float; it must be a tensor with a number per scene"),
        ({"moved": torch.zeros(3, 2)}, r"of shape \[3, 2\]"),
        ({"moved": torch.zeros(3), "reward/reach": torch.zeros(())}, r"'reward/reach' .* of shape \[\]"),
    ],
)
def test_entries_that_are_no_number_per_scene_are_refused(info, words):
    with pytest.raises(UserError, match=words) as refused:
        entries_told("T-v1", behaviour_of("T-v1", task(behaviour=FARTHEST)), info, 3)
    assert is_sentence(str(refused.value))


def test_what_a_reward_depends_on_is_the_same_text_in_any_order():
    texts = {reward_definition(task(reward_definition=stated)) for stated in ({"a": 1, "b": 0.5}, {"b": 0.5, "a": 1})}
    assert texts == {'{"a": 1, "b": 0.5}'}
    assert reward_definition(task()) == ""
