"""Lines about runs, and the time that is left."""

import pytest

from rlft.studies import narration
from rlft.studies.folder import Outcome
from rlft.studies.narration import StudyProgress
from tests.support.studies import planned


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(narration.time, "monotonic", lambda: now[0])
    return now


def unknown(run):
    """How much of it is done."""
    return 0.0


def nothing(run, outcome):
    """What is to be added."""
    return ""


def test_counts_and_remaining_time(tmp_path, capsys, clock):
    """Arm a took 60 s before, b takes 20 s; what is left goes to whichever of two places is free first."""
    runs = planned(tmp_path, "config: BASE\nseeds: [1, 2, 3]\narms: {a: , b: }")
    with StudyProgress(list(runs.values()), 2, {"a-seed1": 60.0}, {"a-seed1"}, unknown, nothing) as reporter:
        reporter.ended(runs["a-seed1"], Outcome("completed"), 0.0)
        reporter.begun(runs["b-seed1"], again=False)
        clock[0] += 20
        reporter.ended(runs["b-seed1"], Outcome("completed"), 20.0)
        reporter.ended(runs["b-seed2"], Outcome("failed", "Ended by SIGKILL."), 0.0)
        reporter.begun(runs["a-seed2"], again=True)
        clock[0] += 30
        reporter.begun(runs["b-seed3"], again=False)
    assert capsys.readouterr().out.splitlines() == [
        "[1/6] 1 of 6 runs are complete already  (0:00:00, about 0:03:00 left)",
        "[1/6] b-seed1 begins  (0:00:00, about 0:03:00 left)",
        "[2/6] b-seed1 completed after 0:00:20  (0:00:20, about 0:01:20 left)",
        "[3/6] b-seed2 failed: Ended by SIGKILL.  (0:00:20, about 0:01:20 left)",
        "[3/6] a-seed2 goes on  (0:00:20, about 0:01:20 left)",
        "[3/6] b-seed3 begins  (0:00:50, about 0:01:20 left)",
    ]


def test_a_run_that_goes_on_counts_with_what_it_had(tmp_path, capsys, clock):
    runs = planned(tmp_path, "config: BASE\nseeds: [1, 2]\narms: {a: }")
    with StudyProgress(list(runs.values()), 1, {"a-seed1": 40.0}, (), unknown, nothing) as reporter:
        reporter.begun(runs["a-seed1"], again=True)
        clock[0] += 10
        reporter.ended(runs["a-seed1"], Outcome("completed"), 10.0)
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "[1/2] a-seed1 completed after 0:00:10  (0:00:10, about 0:00:50 left)"
    )


def test_what_preparations_took_says_nothing_of_runs(tmp_path, capsys, clock):
    arm = '{options: {model.critic_policy: "{critic}/x"}}'
    study = f"config: BASE\nseeds: [1]\nprepare: {{critic: {{config: BASE}}}}\narms: {{a: {arm}}}"
    runs = planned(tmp_path, study)
    with StudyProgress(list(runs.values()), 1, {}, (), unknown, nothing) as reporter:
        reporter.begun(runs["critic"], again=False)
        clock[0] += 20
        reporter.ended(runs["critic"], Outcome("completed"), 20.0)
        reporter.begun(runs["a-seed1"], again=False)
        clock[0] += 300
        reporter.ended(runs["a-seed1"], Outcome("completed"), 300.0)
    assert capsys.readouterr().out.splitlines() == [
        "[0/2] critic begins  (0:00:00)",
        "[1/2] critic completed after 0:00:20  (0:00:20)",
        "[1/2] a-seed1 begins  (0:00:20)",
        "[2/2] a-seed1 completed after 0:05:00  (0:05:20, about 0:00:00 left)",
    ]


def test_a_run_waits_for_what_it_needs(tmp_path, capsys, clock):
    """A critic and its run take 600 s each; there are two places, but the second run needs the second critic."""
    arm = '{options: {model.critic_policy: "{critic}/x"}}'
    critic = "{config: BASE, for_each: model.advantage.gamma}"
    study = "config: BASE\ngrid: {model.advantage.gamma: [0.8, 0.9]}\nseeds: [1]\n"
    runs = planned(tmp_path, f"{study}prepare: {{critic: {critic}}}\narms: {{a: {arm}}}")
    before = {name: 600.0 for name in runs if "0.8" in name}
    with StudyProgress(list(runs.values()), 2, before, before, unknown, nothing) as reporter:
        for name in before:
            reporter.ended(runs[name], Outcome("completed"), 0.0)
        reporter.begun(next(run for name, run in runs.items() if name not in before), again=False)
    assert "about 0:20:00 left" in capsys.readouterr().out.splitlines()[-1]


def test_runs_that_are_running_say_how_long_they_take(tmp_path, capsys, clock):
    """Three of four iterations took 30 s, so a run takes 40 s; the second of them begins in 10 s."""
    runs = planned(tmp_path, "config: BASE\nseeds: [1, 2, 3]\narms: {a: }")
    done = {"a-seed1": 0.75, "a-seed2": 0.0}
    with StudyProgress(list(runs.values()), 2, {}, (), lambda run: done[run.name], nothing) as reporter:
        reporter.begun(runs["a-seed1"], again=False)
        clock[0] += 30
        reporter.begun(runs["a-seed2"], again=False)
    assert capsys.readouterr().out.splitlines()[-1] == "[0/3] a-seed2 begins  (0:00:30, about 0:00:50 left)"


def test_the_bar_is_renewed_while_runs_run(tmp_path, monkeypatch, clock):
    monkeypatch.setattr(narration.sys.stdout, "isatty", lambda: True, raising=False)
    runs = planned(tmp_path, "config: BASE\nseeds: [1]\narms: {a: }")
    with StudyProgress(list(runs.values()), 1, {}, (), lambda run: 0.25, nothing) as reporter:
        reporter.begun(runs["a-seed1"], again=False)
        clock[0] += 10
        reporter.tick()
        assert reporter._progress.tasks[0].description == "0/1, about 0:00:30 left"


def test_what_is_told_of_a_run_stands_before_its_reason(tmp_path, capsys, clock):
    runs = planned(tmp_path, "config: BASE\nseeds: [1, 2]\narms: {a: }")
    told = {"completed": "success 25.0% -> 50.0%", "failed": "see logs/a/output.log"}
    with StudyProgress(list(runs.values()), 1, {}, (), unknown, lambda run, outcome: told[outcome.status]) as reporter:
        for run, outcome in zip(runs.values(), (Outcome("completed"), Outcome("failed", "Killed.")), strict=True):
            reporter.begun(run, again=False)
            reporter.ended(run, outcome, 60.0)
    assert [line.partition("] ")[2].partition("  (")[0] for line in capsys.readouterr().out.splitlines()][1::2] == [
        "a-seed1 completed after 0:01:00, success 25.0% -> 50.0%",
        "a-seed2 failed after 0:01:00, see logs/a/output.log: Killed.",
    ]
