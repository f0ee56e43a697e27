"""A few of the kills of `kills.py`, which makes as many as one likes."""

import random

import pytest

from tests.robustness.kills import difference, kill_until_complete, left_alone, outcome, random_moments


@pytest.mark.parametrize(("kind", "kills"), [("re-rollouts", 2), ("offline", 2)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_left_alone(kind, kills, tmp_path):
    phases, expected = left_alone(kind, tmp_path / "alone")
    hits = kill_until_complete(kind, tmp_path / "killed", phases, random_moments(random.Random(kind), kills))
    assert hits
    assert difference(outcome(tmp_path / "killed/run"), expected) == ""
