"""Disks and directories that fail, disappear or are shared, and clocks that are set."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import RunReport, SuccessCheckpoint
from rlft.cli import main
from rlft.comparison.event_files import event_files
from rlft.comparison.logs import read_log
from rlft.networks.policy_files import load_policy
from tests.support.hand_made import is_sentence
from tests.support.small_disk import train_on
from tests.support.training import data, fit, module, run, smoke
from tests.support.warm import Warm, rlft


def can_mount(folder):
    mount = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", folder]
    return bool(shutil.which("unshare")) and subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
@pytest.mark.parametrize("size", ["4k", "16k", "256k", "3400k", "6400k"])
def test_a_full_disk_ends_a_run_with_a_sentence_and_whole_files(size, tmp_path):
    """Full before the run, at its log, at its first checkpoint, at the second one, at a later one."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("the system lets nobody mount a file system of a given size")
    sizes = ["--model.actor.hidden_dim=256", "--model.critic.hidden_dim=256"]  # two checkpoints fill the largest disk
    arguments = smoke(disk, *sizes, "--run_name=run", "--trainer.max_epochs=9")
    process = Warm(train_on, size, disk, copy, arguments)
    _, stderr = process.communicate()
    said = stderr.splitlines()[-1]
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    assert is_sentence(said.removeprefix("rlft: "))
    assert re.search(r"cannot be written: No space left on device\.$", said)
    for path in copy.glob("run/*/checkpoints/*"):
        assert torch.load(path, weights_only=True)["state_dict"]
    for path in copy.glob("run/*/policies/*.safetensors"):
        load_policy(str(path))
    assert not list(copy.rglob("*.tmp"))


@pytest.mark.parametrize("place", ["/proc/logs", "{file}", "{file}/logs"])
def test_where_nothing_can_be_written_nothing_is_simulated(place, tmp_path, capsys):
    (tmp_path / "file").touch()
    log_dir = place.format(file=tmp_path / "file")
    assert main(smoke(log_dir)) == 1
    printed = capsys.readouterr()
    assert "iteration" not in printed.out + printed.err
    assert printed.err.startswith("rlft: Cannot write run directories below ")
    assert is_sentence(printed.err.strip().removeprefix("rlft: "))


class After(lightning.Callback):
    """Does something after the second iteration."""

    def __init__(self, action):
        self.action = action

    def on_train_epoch_end(self, trainer, pl_module):
        if pl_module.iteration == 2:
            self.action()


def fit_and(action, root):
    logger = TensorBoardLogger(root, name="run")
    report = RunReport()
    return fit(module(), data(), 4, [After(action), report, SuccessCheckpoint("losses/value_loss")], logger, root)


def test_a_run_whose_directory_is_deleted_ends_with_policy_checkpoint_and_report(tmp_path):
    version = tmp_path / "run/version_0"
    fit_and(lambda: shutil.rmtree(version), tmp_path)
    assert torch.load(version / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 3
    assert load_policy(str(version / "policies/last.safetensors")).info["iteration"] == 4
    report = (version / "report.md").read_text()
    assert "Completed." in report
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", report, re.M)] == [0, 1, 2, 3, 4]


def test_a_clock_that_is_set_back_changes_nothing_but_dates(tmp_path, monkeypatch):
    now, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: now() + shift[0])
    fit_and(lambda: shift.append(shift.pop() - 10**6), tmp_path)
    version = tmp_path / "run/version_0"
    log = read_log(version, "run")
    assert (log.unread, log.notes) == (0, [])
    assert len(log.scalars["losses/value_loss"]) == 4
    assert all(seconds >= 0 for seconds in log.scalars["time/iteration"].values())
    assert float(re.search(r"wall time (-?\d+) s", (version / "report.md").read_text())[1]) >= 0


def test_the_newest_run_is_the_one_with_the_highest_number_whatever_the_clock_says(tmp_path):
    """As after a clock that was set back: the older run has the newer dates."""
    run(tmp_path, "--run_name=run", "--trainer.max_epochs=1")
    run(tmp_path, "--run_name=run", "--trainer.max_epochs=1", "--seed_everything=2")
    tomorrow = time.time() + 86_400
    for path in (tmp_path / "run/version_0").rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    continued = run(tmp_path, "--run_name=run", "--trainer.max_epochs=2", "--seed_everything=2", "--ckpt_path=last")
    assert "run/version_1/checkpoints/last.ckpt" in (continued / "report.md").read_text()


def test_runs_that_begin_at_the_same_moment_have_directories_of_their_own(tmp_path):
    runs = [rlft(*smoke(tmp_path, "--run_name=run", "--trainer.max_epochs=1")) for _ in range(3)]
    for one in runs:
        one.communicate()
    assert [one.returncode for one in runs] == [0, 0, 0]
    folders = sorted((tmp_path / "run").iterdir())
    assert [folder.name for folder in folders] == ["version_0", "version_1", "version_2"]
    for folder in folders:
        assert len(event_files(folder)) == 1
        assert "Completed." in (folder / "report.md").read_text()
    assert len((tmp_path / "index.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "log.md").read_text().count("\n## run/version_") == 3


def test_a_directory_is_taken_by_one_run_alone(tmp_path):
    """As many at once as there are processors are not enough to meet in the same microsecond."""
    from rlft.training.run_files import RunLogger

    loggers = [RunLogger(str(tmp_path), name="run") for _ in range(64)]
    threads = [threading.Thread(target=lambda one=one: one.version) for one in loggers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(logger.version for logger in loggers) == list(range(64))
    assert len(list(Path(tmp_path / "run").iterdir())) == 64
