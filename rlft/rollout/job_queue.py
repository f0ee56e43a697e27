"""The queue that all workers take re-rollouts off."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable
from multiprocessing import reduction
from pathlib import Path
from typing import Any

MEMORY = Path("/dev/shm")
ROW = array("q").itemsize  # bytes


class JobQueue:
    """Numbers of jobs in an open file that is shared with its position: to read is to take.

    The system lets one process read at a time (POSIX 2008, 2.9.7), so nothing is taken twice, and whoever dies has
    taken no lock to the grave. The file has no name and vanishes with the last process; it lies in memory where it can,
    because a full disk is no reason to stop.
    """

    def __init__(self) -> None:
        folder = MEMORY if os.access(MEMORY, os.W_OK) else None
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115, stays open

    def __getstate__(self) -> Any:
        """For a worker process that is being started."""
        return reduction.DupFd(self._file.fileno())

    def __setstate__(self, inherited: Any) -> None:
        self._file = os.fdopen(inherited.detach(), "r+b", buffering=0)

    def fill(self, jobs: Iterable[int]) -> None:
        """Puts these jobs in place of what there was, while nobody takes any."""
        content = memoryview(array("q", jobs).tobytes())
        self._file.seek(0)
        self._file.truncate()
        while content:  # an unbuffered file may write less than asked for
            content = content[self._file.write(content) :]
        self._file.seek(0)

    def take(self, count: int) -> list[int]:
        """Takes up to `count` jobs; fewer, or none, once the queue is empty."""
        jobs = array("q")
        jobs.frombytes(self._file.read(count * ROW))
        return jobs.tolist()

    def taken(self) -> int:
        """How many jobs have been taken."""
        return self._file.tell() // ROW
