"""A few of the kills of `kills.py`, which makes as many as one likes."""

import json
import random

import pytest

from tests.robustness.kills import difference, kill_until_complete, outcome, random_moments, start


@pytest.mark.parametrize(("kind", "kills"), [("re-rollouts", 7), ("offline", 2)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_left_alone(kind, kills, tmp_path):
    status, printed = start(f"record:{tmp_path}/phases.json", kind, tmp_path / "alone")
    assert status == 0, printed
    phases = json.loads((tmp_path / "phases.json").read_text())
    hits = kill_until_complete(kind, tmp_path / "killed", phases, random_moments(random.Random(kind), kills))
    assert hits
    assert difference(outcome(tmp_path / "killed/run"), outcome(tmp_path / "alone/run")) == ""
