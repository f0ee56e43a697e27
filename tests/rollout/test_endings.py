"""Whatever ends the main process, nobody and nothing is left behind, and its last checkpoint is whole."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
import torch

from tests.support.descendants import descendants, runs, shared_memory, wait_until
from tests.support.hand_made import REPO
from tests.support.warm import rlft

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers end after the request they are at")
SLURM = {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "study"}
PLAY_FOR_LONG = """
import sys
from rlft.envs import PointReach
from rlft.rollout import ProcessRollouts
from tests.support.faulty import SlowActor
if __name__ == "__main__":
    rollouts = ProcessRollouts(PointReach(), 4, 2)
    print("built", flush=True)
    rollouts.evaluate(SlowActor(0.1), 10_000, seed=1, deterministic=True)
"""


@pytest.mark.parametrize("moment", ["starting", "playing"])
def test_nobody_survives_the_main_process(tmp_path, moment):
    script = tmp_path / "play_for_long.py"
    script.write_text(PLAY_FOR_LONG)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    main = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        if moment == "starting":
            wait_until(lambda: len(descendants(main.pid)) == 3)  # two workers and Python's resource tracker
        else:
            assert main.stdout.readline() == "built\n"
        others = descendants(main.pid)
        assert len(others) == 3
        if moment == "playing":
            held = [name for pid in [main.pid, *others] for name in shared_memory(pid)]
            assert held
            assert all(name.endswith("(deleted)") for name in held)
            os.kill(others[-1], signal.SIGSTOP)
    finally:
        main.kill()
        main.wait()
    wait_until(lambda: not any(runs(pid) for pid in others))


@contextmanager
def running(log_dir, environment):
    """A run with two workers in a process group of its own, and its last checkpoint, which is there already."""
    configs = [f"--config={REPO}/configs/{name}.yaml" for name in ("gae_ppo", "smoke")]
    options = ["--data.num_workers=2", "--trainer.max_epochs=100000", f"--log_dir={log_dir}", "--run_name=run"]
    quiet = {"PYTHONWARNINGS": "ignore"}  # Lightning warns where there is SLURM
    main = rlft("fit", *configs, *options, cwd=REPO, environment={**environment, **quiet})
    last = log_dir / "run/version_0/checkpoints/last.ckpt"
    try:
        wait_until(lambda: last.exists() or main.poll() is not None)
        assert main.poll() is None, main.stderr.read()
        yield main, last
    finally:
        main.kill()
        main.wait()


@pytest.mark.parametrize(
    ("number", "environment", "status", "sentence"),
    [
        (signal.SIGINT, {}, 130, "rlft: interrupted."),
        (signal.SIGUSR1, SLURM, 1, "rlft: Ended by SIGTERM; --ckpt_path last goes on"),
    ],
)
def test_a_run_goes_on_without_a_worker_and_ends_at_a_safe_point(tmp_path, number, environment, status, sentence):
    """The signal reaches the whole process group, as from a terminal or a batch system."""
    with running(tmp_path, environment) as (main, last):
        others = descendants(main.pid)
        os.kill(others[-1], signal.SIGKILL)  # the first is the resource tracker
        replaced = main.stderr.readline()
        written = last.stat().st_mtime
        wait_until(lambda: last.stat().st_mtime > written)
        others += descendants(main.pid)
        os.killpg(main.pid, number)
        _, said = main.communicate()
    assert re.match(r"Rollout worker [12] of 2 was ended by SIGKILL .*; a new process does its work again\.$", replaced)
    assert (main.returncode, sentence in said) == (status, True)
    assert "Traceback" not in said
    wait_until(lambda: not any(runs(pid) for pid in others))
    assert not list(REPO.glob("hpc_ckpt*"))  # where Lightning would have put half an iteration
    assert torch.load(last, weights_only=True)["epoch"] >= 0
    assert b"charts/workers_replaced" in b"".join(path.read_bytes() for path in last.parent.parent.glob("events*"))


def test_a_run_whose_workers_die_again_and_again_ends_with_the_reason_and_its_checkpoint(tmp_path):
    with running(tmp_path, {}) as (main, last):
        others = set()
        while main.poll() is None:
            _, *workers = descendants(main.pid) or [0]
            others |= set(workers)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            time.sleep(0.05)
        said = main.stderr.read().splitlines()
    assert main.returncode == 1
    assert re.match(r"rlft: Rollout worker [12] of 2 was ended by SIGKILL .*, 3 times in one request\.$", said[-1])
    assert 3 <= len(others) <= 7
    wait_until(lambda: not any(runs(pid) for pid in others))
    assert torch.load(last, weights_only=True)["epoch"] >= 0
