"""Which runs are started when, and what becomes of the others."""

import json
import signal

from tests.support.studies import FakeRuns, Listener, folder_of, make, write_version

CHAIN = """
config: BASE
seeds: [1, 2]
prepare: {p: {config: BASE, for_each: seed}}
arms:
  a: {options: {x: "{p}/policies/best.safetensors"}}
  b: {options: {ckpt_path: "{a}/checkpoints/last.ckpt"}}
  c:
"""
SIX = "config: BASE\nseeds: [1, 2, 3, 4, 5, 6]\narms: {a: }"


def test_runs_are_made_after_those_they_need(tmp_path):
    outcomes = make(folder_of(tmp_path, CHAIN), runs := FakeRuns())
    assert runs.names == [f"{name}-seed{seed}" for seed in (1, 2) for name in ("p", "a", "b", "c")]
    assert {outcome.status for outcome in outcomes.values()} == {"completed"}
    a = runs.jobs[1]
    assert f"--x={tmp_path}/logs/p-seed1/version_0/policies/best.safetensors" in a.args
    assert {f"--log_dir={tmp_path}/logs", "--run_name=a-seed1"} <= set(a.args)


def test_so_many_at_a_time(tmp_path):
    looks = {}

    def ends(job):
        looks[job.log] = looks.get(job.log, 0) + 1
        return 0 if looks[job.log] == 2 else None

    make(folder_of(tmp_path, SIX), runs := FakeRuns(ends), jobs=4)
    assert len(runs.jobs) == 6
    assert runs.most == 4


def test_a_run_that_waits_does_not_hold_up_the_others(tmp_path):
    make(folder_of(tmp_path, CHAIN), runs := FakeRuns(), jobs=2)
    assert runs.names[:2] == ["p-seed1", "c-seed1"]


def test_failures_stop_only_what_depends_on_them(tmp_path):
    def ends(job):
        job.log.write_text("begins\nrlft: model.x is 3; it must be 4.\n")
        return 1 if job.log.parent.name == "p-seed1" else 0

    outcomes = make(folder_of(tmp_path, CHAIN), FakeRuns(ends))
    assert (outcomes["p-seed1"].status, outcomes["p-seed1"].reason) == ("failed", "model.x is 3; it must be 4.")
    assert (outcomes["a-seed1"].status, outcomes["a-seed1"].reason) == ("not run", "It needs p-seed1.")
    assert (outcomes["b-seed1"].status, outcomes["b-seed1"].reason) == ("not run", "It needs a-seed1.")
    assert [outcomes[f"{name}-seed{seed}"].status for name, seed in (("c", 1), ("p", 2), ("b", 2))] == ["completed"] * 3
    manifest = json.loads((tmp_path / "logs/study.json").read_text())
    assert {run["run"]: run["reason"] for run in manifest["runs"]}["p-seed1"] == "model.x is 3; it must be 4."


def test_reasons_of_runs_that_say_nothing(tmp_path):
    statuses = {"a-seed1": -9, "a-seed2": 3}

    class Silent(FakeRuns):
        def __call__(self, args, log, threads):
            log.write_text("rlft: of an earlier try.\n$ rlft fit\n")
            return super().__call__(args, log, threads)

    folder = folder_of(tmp_path, "config: BASE\nseeds: [1, 2]\narms: {a: }")
    outcomes = make(folder, Silent(lambda job: statuses[job.log.parent.name]))
    assert [outcome.reason for outcome in outcomes.values()] == [
        "Ended by SIGKILL.",
        "Exit status 3 without a word.",
    ]


def test_success_without_a_complete_status_is_none(tmp_path):
    class Empty(FakeRuns):
        def __call__(self, args, log, threads):
            job = super().__call__(args, log, threads)
            job.poll = lambda: 0
            return job

    outcomes = make(folder_of(tmp_path, SIX), Empty())
    assert {outcome.status for outcome in outcomes.values()} == {"failed"}


def test_complete_runs_are_never_made_again_and_failed_ones_are_tried_again(tmp_path):
    make(folder_of(tmp_path, CHAIN), FakeRuns(lambda job: int(job.log.parent.name == "a-seed2")))
    heard = Listener()
    outcomes = make(folder_of(tmp_path, CHAIN), runs := FakeRuns(), listener=heard)
    assert runs.names == ["a-seed2", "b-seed2"]
    assert len(outcomes) == 8
    assert heard.heard[-4:] == [(name, what) for name in runs.names for what in ("begins", "completed")]
    make(folder_of(tmp_path, CHAIN), runs := FakeRuns())
    assert runs.names == []


def test_an_interrupted_run_goes_on_with_the_threads_it_had(tmp_path):
    folder = folder_of(tmp_path, SIX)
    run = folder.runs["a-seed1"]
    args, _ = folder.begin(run, 7)
    version = write_version(tmp_path / "logs/a-seed1", args, state="running", iterations=1)
    heard = Listener()
    make(folder_of(tmp_path, SIX), runs := FakeRuns(), listener=heard)
    assert runs.jobs[0].args == [*args, f"--ckpt_path={version}/checkpoints/last.ckpt"]
    assert [job.threads for job in runs.jobs] == [7, 3, 3, 3, 3, 3]
    assert ("a-seed1", "goes on") in heard.heard


def test_a_run_whose_time_was_over_goes_on_if_it_had_come_further(tmp_path):
    sittings = []

    def ends(job):
        if len(sittings) == 2 and job.log.parent.name == "a-seed1":
            return 0
        if job.log.parent.name == "a-seed1":
            sittings.append(write_version(job.log.parent, job.args, state="running", iterations=1))
        return -signal.SIGUSR1

    outcomes = make(folder_of(tmp_path, "config: BASE\nseeds: [1, 2]\narms: {a: }"), runs := FakeRuns(ends))
    assert runs.names == ["a-seed1"] * 3 + ["a-seed2"]
    assert [job.args[-1] for job in runs.jobs[1:3]] == [f"--ckpt_path={one}/checkpoints/last.ckpt" for one in sittings]
    assert (outcomes["a-seed1"].status, outcomes["a-seed2"].status) == ("completed", "failed")
    assert outcomes["a-seed2"].reason == "Its time was over before another iteration was complete."


def test_a_request_to_stop_ends_runs_at_a_safe_point_and_a_second_one_at_once(tmp_path):
    stops = []

    def ends(job):
        if not job.asked:
            stops.append("first")
        elif job.asked == ["terminate"]:
            stops.append("second")
        return -9 if "kill" in job.asked else None

    folder = folder_of(tmp_path, SIX)
    outcomes = make(folder, runs := FakeRuns(ends), stops=lambda: len(stops))
    assert len(runs.jobs) == 1
    assert runs.jobs[0].asked == ["terminate", "kill"]
    assert [outcome.status for outcome in outcomes.values()] == ["interrupted"] + ["waiting"] * 5


def test_commands_write_into_a_new_directory_until_they_succeed(tmp_path):
    text = (
        "config: BASE\nseeds: [1]\nprepare: {d: {command: [collect, '{here}/d.h5']}}\n"
        "arms: {a: {options: {data: '{d}/d.h5'}}}"
    )
    make(folder_of(tmp_path, text), failing := FakeRuns(lambda job: 1))
    make(folder_of(tmp_path, text), runs := FakeRuns())
    where = f"{tmp_path}/logs/d/version_"
    assert [job.args for job in failing.jobs] == [["collect", f"{where}0/d.h5"]]
    assert runs.jobs[0].args == ["collect", f"{where}1/d.h5"]
    assert f"--data={where}1/d.h5" in runs.jobs[1].args
    make(folder_of(tmp_path, text), again := FakeRuns())
    assert again.jobs == []
