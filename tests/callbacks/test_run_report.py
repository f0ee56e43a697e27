"""What a run leaves: status and iterations as data, and the report that is made of them."""

import json
import shutil

import lightning
import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import DeterministicEval, RunReport, SuccessCheckpoint
from rlft.runs.identity import Identity
from rlft.runs.iterations import read_iterations
from rlft.runs.status import read_status
from tests.support.training import data, fit, module, run

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
