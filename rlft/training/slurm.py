"""Under SLURM: its signals end a run at a safe point.

Lightning answers SLURM's SIGUSR1 with a checkpoint of whatever is half done, in the working directory, where every run
that starts there later would take it for its own. Our runs have the checkpoint of their last complete iteration at any
time, so all there is to do is to end; `rlft study` goes on with the same command once the job is queued again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment


def slurm_plugins() -> list[SLURMEnvironment]:
    """For Lightning's Trainer: SLURM without checkpoints of half an iteration; nothing elsewhere."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


@contextmanager
def warnings_of_slurm() -> Iterator[None]:
    """Within, the warning that a job has asked for (`--signal=USR1@60`) is heard as the SIGTERM that follows it."""
    if not SLURMEnvironment.detect() or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
