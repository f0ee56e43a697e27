"""Runs as processes of this machine."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from rlft.system import SHARE, available_cores

PROMPT = "$ "  # begins the line of an output that says what was started
TAIL = 10_000  # bytes at the end of an output that are searched for the last sentence


class Job(Protocol):
    """A run that has been started; `subprocess.Popen` is one."""

    def poll(self) -> int | None:
        """The exit status, once it has ended; -SIGUSR1 if the time that it was given was over."""
        ...

    def terminate(self) -> None:
        """Asks it to end at a safe point."""
        ...

    def kill(self) -> None:
        """Ends it now."""
        ...


Executor = Callable[[Sequence[str], Path, int], Job]  # arguments of rlft, file for the output, threads


def local_executor(lock: int) -> Executor:
    """Starts runs on this machine.

    Args:
        lock: the open lock of the study's folder, which they share: while one of them lives, no other study begins.
    """

    def start(args: Sequence[str], log: Path, threads: int) -> Job:
        return start_process(args, log, threads, pass_fds=[lock])

    return start


def start_process(
    args: Sequence[str], log: Path, threads: int, *, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Starts `rlft` as a child that ends with this process.

    Args:
        args: arguments of rlft.
        log: file that its output is appended to.
        threads: of the main process, and how many workers it has by default.
        pass_fds: open files that it inherits.
    """
    environment = {
        "OMP_NUM_THREADS": str(threads),
        SHARE: str(threads),  # so many workers, unless the study says otherwise
        "RLFT_PARENT": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("ab") as output:
        output.write(f"{PROMPT}{shlex.join(['rlft', *args])}\n".encode())
        output.flush()
        return subprocess.Popen(
            [sys.executable, "-m", "rlft", *args],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C is for the study, which then asks its runs to end at a safe point
        )


def note_end(log: Path, message: str) -> None:
    """Adds a last line to the output of a run that could not say itself how it ended."""
    with log.open("a") as output:
        output.write(f"{message}\n")


def threads_of_each(jobs: int) -> int:
    """A fair share of the cores: threads of several runs that wait for each other on one core slow all of them."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, (int(allowed) if allowed.isdigit() else available_cores()) // jobs)


def reason_of(status: int, log: Path) -> str:
    """Why a run failed: the signal that ended it, or the last line of its output."""
    if status < 0:
        return f"Ended by {signal.Signals(-status).name}."
    lines = log.read_bytes()[-TAIL:].decode(errors="replace").splitlines() if log.is_file() else []
    message = [line for line in lines if line.strip()][-1:]
    if not message or message[0].startswith(PROMPT):
        return f"Exit status {status} without a word."
    return message[0].removeprefix("rlft: ").strip()
