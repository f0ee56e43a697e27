"""A few of the kills of `kills.py`, which makes as many as one likes."""

import random

import pytest

from tests.robustness.kills import difference, kill_until_complete, left_alone, outcome, random_moments

MOMENTS = {
    "re-rollouts": random_moments(random.Random("re-rollouts"), 2),
    "offline": random_moments(random.Random("offline"), 2),
    "replay": iter([("segment", 0.3, 0.5, "all"), ("update", 0.5, 0.5, "main")]),
    "pictures": iter([("segment", 0.4, 0.5, "main"), ("update", 0.6, 0.5, "main")]),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_a_run_that_is_killed_again_and_again_ends_as_one_left_alone(kind, tmp_path):
    phases, expected = left_alone(kind, tmp_path / "alone")
    hits = kill_until_complete(kind, tmp_path / "killed", phases, MOMENTS[kind])
    assert hits
    assert difference(outcome(tmp_path / "killed/run"), expected) == ""
