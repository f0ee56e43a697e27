import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.files.tensors import read_tensors, write_tensors
from rlft.ranking.parts import Parts
from rlft.types import EnvStates, Rollout
from tests.support.chain import states_at
from tests.support.hand_made import is_sentence, random_rollout
from tests.support.rollouts import assert_equal

SETTINGS = {"states": 3, "gamma": 0.8, "policy": "weak"}


@dataclass(frozen=True)
class Nested:
    number: Tensor
    states: EnvStates


def nested(value):
    return Nested(torch.full((2,), value), states_at([1, 2, 3]))


def never():
    raise AssertionError("this part was there already")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "below" / "simulation.safetensors"


def test_a_part_is_made_once(path):
    first = Parts(path, SETTINGS).get("a", Nested, lambda: (nested(1.5), 7))
    again = Parts(path, SETTINGS)
    assert not again.missing("a")
    assert again.missing("b")
    assert_equal(again.get("a", Nested, never), first)
    assert_equal(first, nested(1.5))
    assert again.sim_steps == {"a": 7}


def test_a_rollout_in_which_nan_stands_for_an_unknown_density_is_read(path):
    rollout = random_rollout(2, 2)
    Parts(path, SETTINGS).get("a", Rollout, lambda: (rollout, 7))
    tensors, header = read_tensors(path, "")
    del tensors["a.log_prob_known"]
    tensors["a.log_prob"][1, 0] = torch.nan
    write_tensors(path, tensors, header)
    again = Parts(path, SETTINGS).get("a", Rollout, never)
    known = torch.tensor([[True, True], [False, True]])
    assert_equal(again, dataclasses.replace(rollout, log_prob_known=known))  # whose log_prob are all 0


def test_a_part_that_fails_leaves_those_before_it(path):
    parts = Parts(path, SETTINGS)
    parts.get("a", Nested, lambda: (nested(1.0), 7))
    with pytest.raises(AssertionError):
        parts.get("a b", Nested, never)
    again = Parts(path, SETTINGS)
    assert again.missing("a b")
    assert_equal(again.get("a b", Nested, lambda: (nested(2.0), 5)), nested(2.0))
    assert_equal(Parts(path, SETTINGS).get("a", Nested, never), nested(1.0))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("settings", [{**SETTINGS, "gamma": 0.9}, {"states": 3, "policy": "weak"}])
def test_other_settings_are_refused(settings, path):
    Parts(path, SETTINGS).get("a", Nested, lambda: (nested(1.0), 7))
    with pytest.raises(UserError, match=r"was made with gamma 0.8, not") as error:
        Parts(path, settings)
    assert is_sentence(str(error.value))


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=r"is no simulation of rlft rank") as error:
        Parts(tmp_path / "file", SETTINGS)
    assert is_sentence(str(error.value))
    assert (tmp_path / "file").read_bytes() == content
