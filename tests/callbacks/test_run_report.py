"""What a run leaves: status and iterations as data, and the report that is made of them."""

import json
import re
import shlex
import shutil

import lightning
import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import DeterministicEval, RunReport, SuccessCheckpoint
from rlft.cli import main
from rlft.runs import outcomes
from rlft.runs.identity import Identity
from rlft.runs.iterations import read_iterations
from rlft.runs.outcomes import Episodes
from rlft.runs.status import read_status
from tests.support.hand_made import REPO
from tests.support.training import data, fit, made_by, module, run

IDENTITY = Identity({"model.learning_rate": 0.0003}, seed=7)


class Interrupt(lightning.Callback):
    """Fails when the second iteration begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("power\ncut")


class Watch(lightning.Callback):
    """Keeps what the files say whenever an iteration begins."""

    def __init__(self, version):
        self.version, self.seen = version, []

    def on_train_epoch_start(self, trainer, pl_module):
        status = read_status(self.version)
        self.seen.append((status.state, status.done, [row["iteration"] for row in read_iterations(self.version)]))


def train(tmp_path, iterations, *callbacks, report=None):
    """Trains with a report into `tmp_path/name/version_0`."""
    logger = TensorBoardLogger(tmp_path, "name")
    fit(module(), data(), iterations, [*callbacks, report or RunReport(["fit"], IDENTITY)], logger, tmp_path)
    return tmp_path / "name/version_0"


def test_an_interrupted_run_has_a_status_and_a_report_that_say_so(tmp_path):
    with pytest.raises(RuntimeError):
        train(tmp_path, 3, Interrupt())
    version = tmp_path / "name/version_0"
    status = read_status(version)
    assert (status.state, status.reason, status.done, status.iterations) == (
        "ended early",
        "RuntimeError power cut",
        1,
        3,
    )
    report = (version / "report.md").read_text()
    assert "Ended early: RuntimeError power cut." in report
    assert [line.split("|")[1].strip() for line in report.splitlines() if line.startswith("| ")] == [
        "iteration",
        "0",
        "1",
    ]


def test_the_records_are_up_to_date_after_every_iteration(tmp_path):
    watch = Watch(tmp_path / "name/version_0")
    version = train(tmp_path, 2, watch)
    assert watch.seen == [("running", 0, [0]), ("running", 1, [0, 1])]
    status = read_status(version)
    assert (status.state, status.done, status.iterations) == ("completed", 2, 2)
    assert (status.seed, status.digest, status.settings) == (7, IDENTITY.digest, IDENTITY.settings)
    assert status.arguments == ["fit"]
    assert len(status.commit) == 40
    assert [row.get("steps/env") for row in read_iterations(version)] == [0, 80, 160]


def test_a_run_that_nobody_has_identified_says_so(tmp_path):
    status = read_status(train(tmp_path, 1, report=RunReport()))
    assert (status.digest, status.settings, status.seed) == ("", {}, -1)


def test_the_last_row_has_what_was_measured_at_the_end_of_a_run_that_stopped_early(tmp_path):
    """It stops after iteration 1 of 9, which is no multiple of 5, and is evaluated then."""
    stops = EarlyStopping("losses/value_loss", mode="max", stopping_threshold=-1.0, check_on_train_epoch_end=True)
    version = train(tmp_path, 9, DeterministicEval(num_episodes=4, every_n_iterations=5), stops)
    first, last = read_iterations(version)
    assert last["iteration"] == 1
    assert "eval/success_rate" in first
    assert "eval/success_rate" in last
    assert read_status(version).state == "completed"


def test_a_run_that_goes_on_has_all_rows_and_says_from_where(tmp_path):
    first = run(tmp_path, "--trainer.max_epochs=2")
    checkpoint = first / "checkpoints/last.ckpt"
    more = run(tmp_path, "--trainer.max_epochs=3", "--ckpt_path", checkpoint)
    rows = read_iterations(more)
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3]
    assert rows[:2] == read_iterations(first)[:2]
    before, after = read_status(first), read_status(more)
    assert (after.checkpoint, after.checkpoint_iterations) == (str(checkpoint), 2)
    assert (after.done, after.iterations) == (3, 3)
    assert (after.digest, after.seed) == (before.digest, before.seed)
    assert (before.checkpoint, before.checkpoint_iterations) == ("", 0)


def test_a_run_that_goes_on_with_other_settings_is_another_one(tmp_path):
    first = run(tmp_path, "--run_name=run", "--trainer.max_epochs=1")
    options = ("--run_name=run", "--model.learning_rate=1e-4", "--trainer.max_epochs=2")
    other = run(tmp_path, *options, "--ckpt_path", first / "checkpoints/last.ckpt")
    again = run(tmp_path, *options[:2], "--trainer.max_epochs=3", "--ckpt_path", other / "checkpoints/last.ckpt")
    alone = run(tmp_path, *options)
    before, after, on, new = map(read_status, (first, other, again, alone))
    assert after.continues == before.digest
    assert on.digest == after.digest
    assert len({before.digest, after.digest, new.digest}) == 3
    assert {**new.settings, "checkpoint_iterations": 1} == after.settings  # after how many it left the other


def in_pairs(start, last, states=("a", "a"), rates=None, folder=None):
    """What a report tells of the pairs of a first and a last evaluation, given as strings of 0 and 1."""
    first, second = (
        Episodes("eval/success_rate", step, at, tuple(one == "1" for one in successes))
        for step, at, successes in zip((0, 80), states, (start, last), strict=True)
    )
    for one in (first, second, Episodes("eval_stochastic/success_rate", 90, "a", first.success)):
        outcomes.add(folder, one)
    rates = rates or [sum(one.success) / len(one.success) for one in (first, second)]
    report = RunReport()
    rows = [{"iteration": i, "eval/success_rate": rate} for i, rate in enumerate(rates)]
    report.load_state_dict({"rows": rows, "start": vars(first)})
    return report._against_start(folder)


def test_the_report_tells_of_pairs_what_mcnemar_makes_of_them(tmp_path):
    """7 won, 1 lost: 2 (1 + 8) / 2^8."""
    assert in_pairs("0000000" + "1" + "11" + "00", "1111111" + "0" + "11" + "00", folder=tmp_path) == (
        "Of 12 episodes from equal initial states it won 7 that the start policy lost, "
        "and lost 1 that the start policy won (p 0.070, exact McNemar)."
    )


@pytest.mark.parametrize(
    "options", [{"states": ("a", "b")}, {"last": "011"}, {"rates": [0.0, 0.25]}]
)  # other initial states, another number of them, an evaluation whose iteration did not come to its end
def test_what_is_no_pair_is_not_told(tmp_path, options):
    assert in_pairs("0011", "0111", folder=tmp_path / "pairs") != ""
    assert in_pairs(**{"start": "0011", "last": "0111", **options}, folder=tmp_path) == ""


def won_and_lost(*versions):
    """Counted from the episodes of the first and the last evaluation of a run's versions."""
    lines = [json.loads(line) for version in versions for line in (version / "episodes.jsonl").read_text().splitlines()]
    pairs = [*zip(lines[0]["success"], lines[-1]["success"], strict=True)]
    return pairs.count(("0", "1")), pairs.count(("1", "0"))


def test_a_run_that_goes_on_is_told_against_its_very_start(tmp_path):
    options = ("--model.policy=pointreach/weak", "--model.learning_rate=0.01")
    first = run(tmp_path, *options, "--trainer.max_epochs=1")
    more = run(tmp_path, *options, "--trainer.max_epochs=2", "--ckpt_path", first / "checkpoints/last.ckpt")
    for versions in ((first,), (first, more)):
        won, lost = won_and_lost(*versions)
        assert won + lost > 0
        told = f"Of 32 episodes from equal initial states it won {won} that the start policy lost, and lost {lost} that"
        report = (versions[-1] / "report.md").read_text()
        assert told in report
        assert re.search(r"More of them: `rlft evaluate \S+ --against pointreach/weak --episodes 1000`\.", report)


def report_of_cubes(log_dir, *options):
    """The report of one short iteration that starts from pickcube/weak."""
    sizes = ("num_envs=8", "num_steps=10", "num_minibatches=1", "update_epochs=1", "total_timesteps=null")
    short = [
        *(f"--data.{size}" for size in (*sizes, "num_workers=0")),
        "--eval.num_episodes=4",
        "--trainer.max_epochs=1",
    ]
    arguments = ["fit", f"--config={REPO}/configs/gae_ppo.yaml", *short, f"--log_dir={log_dir}", *options]
    return (made_by(arguments, log_dir) / "report.md").read_text()


@pytest.mark.maniskill
def test_the_report_names_the_command_that_asks_more_episodes_and_it_works(tmp_path, capsys):
    report = report_of_cubes(tmp_path)
    (command,) = re.findall(r" More of them: `rlft (evaluate .* --against pickcube/weak --episodes 1000)`\.", report)
    assert main([*shlex.split(command), "--episodes=4", "--num_workers=0"]) == 0
    assert "policies/last.safetensors less pickcube/weak" in capsys.readouterr().out


@pytest.mark.maniskill
def test_a_start_policy_of_another_task_is_not_to_be_played_against(tmp_path):
    report = report_of_cubes(tmp_path, "--data.env.task=PickCube-v2", "--accept_mismatch=[task]")
    assert "Of 4 episodes from equal initial states" in report
    assert "More of them" not in report


class Deleted(lightning.Callback):
    """Somebody deletes the run's folder when the third iteration begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            trainer.logger.experiment.flush()  # its thread dies of a folder that is gone while it writes
            shutil.rmtree(trainer.log_dir)


def test_a_run_whose_folder_is_deleted_ends_with_whole_records(tmp_path):
    version = train(tmp_path, 3, Deleted())
    assert [row["iteration"] for row in read_iterations(version)] == [0, 1, 2, 3]
    assert read_status(version).state == "completed"


def test_iterations_are_lines_that_any_tool_reads(tmp_path):
    version = train(tmp_path, 1, SuccessCheckpoint("losses/value_loss"))
    lines = (version / "iterations.jsonl").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [0, 1]
