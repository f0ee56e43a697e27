"""What counts as complete, what goes on, and what is refused."""

import json
import shutil
import subprocess
import sys

import pytest

from rlft.errors import UserError
from rlft.runs.iterations import write_iterations
from rlft.studies.folder import Outcome, locked
from tests.support.hand_made import is_sentence
from tests.support.studies import FakeRuns, folder_of, make, write_old_version, write_version

TWO = "config: BASE\nseeds: [1]\noptions: {x: 1}\narms: {a: , b: {options: {ckpt_path: '{a}/checkpoints/last.ckpt'}}}"


def begun(tmp_path, text=TWO, name="a-seed1", threads=1):
    """A folder in which a run was begun; its run, and the arguments it was begun with."""
    folder = folder_of(tmp_path, text)
    args, _ = folder.begin(folder.runs[name], threads)
    return folder, folder.runs[name], args


def test_a_run_is_complete_when_its_status_says_so(tmp_path):
    folder, run, args = begun(tmp_path)
    assert folder.result(run) is None
    write_version(tmp_path / "logs/a-seed1", args, state="running")
    assert folder.result(run) is None
    version = write_version(tmp_path / "logs/a-seed1", args)
    assert folder.result(run) == version


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "success 25.0% -> 50.0%"),
        ("checkpoint: {monitor: eval/return}", "return -3 -> 1,050"),
        ("checkpoint: {monitor: losses/validation_value_loss}", "validation value loss 0.25"),
        ("checkpoint: {monitor: losses/nobody_measured}", ""),
    ],
)
def test_what_a_complete_run_has_come_to_in_the_metric_that_it_is_judged_by(tmp_path, config, told):
    folder, run, args = begun(tmp_path)
    version = write_version(tmp_path / "logs/a-seed1", args)
    of_start, of_end = {"eval/success_rate": 0.25, "eval/return": -3.0}, {"eval/success_rate": 0.5, "eval/return": 1050}
    middle = {"eval/success_rate": 0.75, "losses/validation_value_loss": 0.25}  # the last iteration logs no loss
    rows = [{"iteration": i, **row} for i, row in enumerate((of_start, middle, of_end))]
    write_iterations(version, rows)
    if config:
        (version / "config.yaml").write_text(config)
    assert folder.outcome_told(run, Outcome("completed", version=version.name)) == told


def test_what_is_told_of_runs_that_have_come_to_nothing(tmp_path):
    folder, run, args = begun(tmp_path)
    write_version(tmp_path / "logs/a-seed1", args)
    assert folder.outcome_told(run, Outcome("completed", version="version_0")) == ""  # no iterations that can be read
    assert folder.outcome_told(run, Outcome("failed", "x")) == ""  # never came as far as an output
    folder.log(run).write_text("x")
    assert folder.outcome_told(run, Outcome("failed", "x")) == f"see {tmp_path}/logs/a-seed1/output.log"
    assert folder.outcome_told(run, Outcome("interrupted")) == ""


def test_a_needed_run_is_its_complete_version(tmp_path):
    folder, _, args = begun(tmp_path)
    write_version(tmp_path / "logs/a-seed1", args, state="running")
    version = write_version(tmp_path / "logs/a-seed1", args)
    assert f"--ckpt_path={version}/checkpoints/last.ckpt" in folder.arguments(folder.runs["b-seed1"])


def test_a_study_that_older_code_began_goes_on(tmp_path):
    """Its runs have no status; what is known of them is in their reports."""
    folder, run, args = begun(tmp_path)
    version = write_old_version(tmp_path / "logs/a-seed1", args, note="Ended early: x", iterations=1, of=4)
    assert folder.result(run) is None
    assert folder.share_done(run) == 0.25
    assert folder.arguments(run) == [*args, f"--ckpt_path={version}/checkpoints/last.ckpt"]
    complete = write_old_version(tmp_path / "logs/a-seed1", args, iterations=4, of=4)
    assert folder.result(run) == complete
    assert f"--ckpt_path={complete}/checkpoints/last.ckpt" in folder.arguments(folder.runs["b-seed1"])


def test_what_somebody_made_of_a_run_by_hand_is_not_of_the_study(tmp_path):
    folder, run, args = begun(tmp_path)
    write_version(tmp_path / "logs/a-seed1", [*args, "--trainer.max_epochs=20"])
    assert folder.result(run) is None
    assert folder.checkpoint(run) is None


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path):
    folder, run, args = begun(tmp_path)
    write_version(tmp_path / "logs/a-seed1", args, state="running", iterations=1, of=9)
    newest = write_version(tmp_path / "logs/a-seed1", args, state="running", iterations=2, of=9)
    write_version(tmp_path / "logs/a-seed1", args, state="running", iterations=2, of=9, checkpoint=False)
    assert folder.arguments(run) == [*args, f"--ckpt_path={newest}/checkpoints/last.ckpt"]


def test_a_checkpoint_of_the_last_iteration_leaves_nothing_to_go_on_with(tmp_path):
    """`rlft fit` would refuse it; the run was killed before it could say that it was complete."""
    folder, run, args = begun(tmp_path)
    write_version(tmp_path / "logs/a-seed1", args, state="running", iterations=2, of=2)
    assert folder.arguments(run) == args


def test_a_run_that_began_from_another_one_goes_on_from_its_own_checkpoint_and_optimiser(tmp_path):
    text = TWO.replace("last.ckpt", "last.ckpt', reset_optimizer: 'true")
    folder, run, args = begun(tmp_path, text)
    write_version(tmp_path / "logs/a-seed1", args)
    folder, run, args = begun(tmp_path, text, "b-seed1")
    assert "--reset_optimizer=true" in args
    own = write_version(tmp_path / "logs/b-seed1", args, state="running", iterations=1)
    assert folder.arguments(run)[len(args) :] == [
        f"--ckpt_path={own}/checkpoints/last.ckpt",
        "--reset_optimizer=false",
    ]


def test_a_folder_that_was_moved_is_still_complete(tmp_path):
    make(folder_of(tmp_path, TWO), FakeRuns())
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "logs", tmp_path / "elsewhere")
    moved = folder_of(tmp_path / "elsewhere", TWO.replace("BASE", str(tmp_path / "base.yaml")))
    assert all(moved.result(run) for run in moved.runs.values())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tmp_path: TWO.replace("x: 1", "x: 2"), "a-seed1 was made with --x=1, not with --x=2, and 1 more"),
        (lambda tmp_path: (tmp_path / "base.yaml").write_text("a: 1") and TWO, "another content of"),
    ],
)
def test_a_complete_run_of_other_options_or_configs_is_refused(tmp_path, change, says):
    make(folder_of(tmp_path, TWO), FakeRuns())
    with pytest.raises(UserError) as error:
        folder_of(tmp_path, change(tmp_path))
    assert says in str(error.value)
    assert is_sentence(str(error.value))


def test_a_complete_run_stays_complete_when_comments_of_its_config_change(tmp_path):
    make(folder_of(tmp_path, TWO), FakeRuns())
    config = tmp_path / "base.yaml"
    config.write_text("# 93% after 20,000 env steps.\n" + config.read_text())
    moved = folder_of(tmp_path, TWO)
    assert all(moved.result(run) for run in moved.runs.values())


def test_a_run_that_was_made_from_something_else_is_refused(tmp_path):
    make(folder_of(tmp_path, TWO), FakeRuns())
    shutil.rmtree(tmp_path / "logs/a-seed1")
    folder_of(tmp_path, TWO)  # the same again would make the same
    changed = TWO.replace("arms: {a: ", "arms: {a: {options: {y: 1}}")
    with pytest.raises(UserError, match="b-seed1 was made with a a-seed1 that was made with something else"):
        folder_of(tmp_path, changed)


def test_options_may_change_while_nothing_has_been_made_with_them(tmp_path):
    make(folder_of(tmp_path, TWO), FakeRuns(lambda job: 1))
    outcomes = make(folder_of(tmp_path, TWO.replace("x: 1", "x: 2")), runs := FakeRuns())
    assert "--x=2" in runs.jobs[0].args
    assert all(outcome.status == "completed" for outcome in outcomes.values())
    folder_of(tmp_path, TWO.replace("x: 1", "x: 2"))


def test_a_config_that_changes_during_the_study_fails_the_runs_that_follow(tmp_path):
    folder = folder_of(tmp_path, TWO.replace("'{a}/checkpoints/last.ckpt'", "null"))

    def ends(job):
        (tmp_path / "base.yaml").write_text("changed: true")
        return 0

    outcomes = make(folder, FakeRuns(ends))
    assert [outcome.status for outcome in outcomes.values()] == ["completed", "failed"]
    assert "A config has changed" in outcomes["b-seed1"].reason


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "logs/a-seed1").mkdir(parents=True)
    with pytest.raises(UserError, match="is not of this study"):
        folder_of(tmp_path, TWO)


def test_a_run_whose_folder_is_removed_while_it_runs_fails_alone(tmp_path):
    folder = folder_of(tmp_path, "config: BASE\nseeds: [1]\narms: {a: , b: }")

    def ends(job):
        if job.log.parent.name == "a-seed1":
            (job.log.parent / "run.json").unlink()
        return 0

    outcomes = make(folder, FakeRuns(ends))
    assert [outcome.status for outcome in outcomes.values()] == ["failed", "completed"]
    assert "a-seed1 has no run.json" in outcomes["a-seed1"].reason


def test_arms_may_be_added(tmp_path):
    make(folder_of(tmp_path, TWO), FakeRuns())
    outcomes = make(folder_of(tmp_path, TWO.replace("a: ,", "a: , c: ,")), runs := FakeRuns())
    assert runs.names == ["c-seed1"]
    assert len(outcomes) == 3


def test_the_manifest_says_what_the_folder_holds(tmp_path):
    text = TWO.replace("arms:", "prepare: {p: {config: BASE}}\narms:").replace("a: ,", "a: {options: {y: '{p}'}},")
    make(folder_of(tmp_path, text), FakeRuns())
    manifest = json.loads((tmp_path / "logs/study.json").read_text())
    assert manifest["name"] == "study"
    rows = [(run["run"], run["arm"], run["seed"], run["preparation"], run["needs"]) for run in manifest["runs"]]
    assert rows == [
        ("p", "p", None, True, []),
        ("a-seed1", "a", 1, False, ["p"]),
        ("b-seed1", "b", 1, False, ["a-seed1"]),
    ]
    assert {run["status"] for run in manifest["runs"]} == {"completed"}
    assert {run["version"] for run in manifest["runs"]} == {"version_0"}


def test_one_study_at_a_time_and_a_run_that_it_left_counts(tmp_path):
    with locked(tmp_path) as lock:
        with pytest.raises(UserError, match="Another rlft study"), locked(tmp_path):
            pass
        left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with pytest.raises(UserError, match="Another rlft study"), locked(tmp_path):
        pass
    left.kill()
    left.wait()
    with locked(tmp_path):
        pass
