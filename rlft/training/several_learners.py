"""Several learners of one run on one machine: `rlft fit --trainer.devices 2`.

The process that was started is the first learner. It starts the others, which read the same command line; they hear no
signals and end with the first one, whatever ends that. One that ends before the run ends the others within `PATIENCE`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch
import torch.distributed as dist
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from rlft.errors import UserError, one_line
from rlft.learners import LearnerLost, Place, take_place
from rlft.rollout import close_all
from rlft.rollout.worker_process import signals_blocked, start_context
from rlft.system import available_cores, end_with_parent, how_ended

HOST = "127.0.0.1"
GRACE = 5.0  # seconds in which a process that has lost its connection is expected to have ended
PATIENCE = 30.0  # seconds until a learner that has not noticed the end of another one is ended
LONGEST = timedelta(days=7)  # that learners wait for each other: one that has ended is noticed otherwise


class _Other:
    """Another learner, as the first one sees it."""

    def __init__(self, run: Callable[[Sequence[str]], None], arguments: Sequence[str], mine: Place, port: int) -> None:
        context = start_context()
        self.number = mine.rank + 1
        self.count = mine.count
        self.heard, theirs = context.Pipe(duplex=False)
        passed = (run, arguments, mine, port, os.getpid(), theirs)
        self.process: BaseProcess = context.Process(target=_learn, args=passed)
        with signals_blocked():
            self.process.start()
        theirs.close()
        self._said, self._told, self._lock = "", "", threading.Lock()

    def ready(self) -> bool:
        """Waits until it is about to join the others, or has ended."""
        with suppress(EOFError, OSError):
            self._told = self.heard.recv()
            return not self._told
        return False

    def lost(self, seconds: float) -> str:
        """What to say of it if it has failed, or does so within as many seconds; else nothing."""
        with self._lock:  # the thread that watches asks, too
            self.process.join(seconds)
            if self._said or not (status := self.process.exitcode):
                return self._said
            with suppress(EOFError, OSError):
                if self.heard.poll():
                    self._told = self.heard.recv()
            remedy = "; --ckpt_path last goes on after the last complete iteration."
            who = f"Learner {self.number} of {self.count}"
            self._said = f"{who}: {self._told}" if self._told else f"{who} {how_ended(status)}{remedy}"
            return self._said


_others: list[_Other] = []  # of the first learner
_invited: tuple[Place, int, Connection] | None = None  # of another learner: its place, a port, and who started it
_over = threading.Event()  # the first learner is about to end


def gather(count: int, run: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Makes this process one of `count` learners: the first one starts the others, these join it.

    Args:
        count: how many there are.
        run: what the others do with the arguments.
        arguments: of the command line.

    Raises:
        UserError: if another learner does not get as far as this.
    """
    if count == 1:
        return
    _over.clear()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, available_cores() // count))
    if _invited is not None:
        mine, port, first = _invited
        first.send("")
        _join(TCPStore(HOST, port, is_master=False), mine)
        return
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    for rank in range(1, count):
        _others.append(_Other(run, arguments, Place(rank, count), store.port))
    for other in _others:
        if not other.ready():
            raise UserError(lost(GRACE) or f"Learner {other.number} of {count} does not answer.")
    threading.Thread(target=_watch, daemon=True).start()
    _join(store, Place(0, count))


def _join(store: TCPStore, mine: Place) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else the name of the host has to have an address
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=mine.rank, world_size=mine.count, timeout=LONGEST)
    take_place(mine)


def lost(seconds: float = 0.0) -> str:
    """What to say of another learner that has failed, or does so within as many seconds; nothing if none has."""
    ended = wait([other.process.sentinel for other in _others], seconds) if _others else []
    over = [other for other in _others if other.process.sentinel in ended]
    return next((said for other in over if (said := other.lost(GRACE))), "")  # its status may not be known yet


def await_others() -> None:
    """Waits for the other learners at the end of a run.

    Raises:
        UserError: if one has failed.
    """
    for other in _others:
        if told := other.lost(PATIENCE):
            raise UserError(told)


def leave() -> None:
    """Ends the other learners, and makes this process the only one again. Idempotent."""
    _over.set()
    for other in _others:
        other.process.kill()
    for other in _others:
        other.process.join(GRACE)
        other.heard.close()
    _others.clear()
    take_place(Place())
    if dist.is_initialized():
        dist.destroy_process_group()


def _watch() -> None:
    """Ends this process if it has not noticed in time that another learner has failed: a simulation may take hours."""
    running = list(_others)
    while running and not _over.is_set():
        ended = wait([other.process.sentinel for other in running], 1.0)
        for other in [one for one in running if one.process.sentinel in ended]:
            running.remove(other)
            if (told := other.lost(GRACE)) and not _over.wait(PATIENCE):
                print(f"rlft: {told}", file=sys.stderr, flush=True)
                close_all()
                for one in running:
                    one.process.kill()
                os._exit(1)


def _learn(
    run: Callable[[Sequence[str]], None],
    arguments: Sequence[str],
    mine: Place,
    port: int,
    parent: int,
    first: Connection,
) -> None:
    """The process of another learner: says nothing itself, but tells the first one why it has failed.

    It has not if all of them have ended at once because the first one was asked to.
    """
    global _invited
    if not end_with_parent(parent, signal.SIGKILL):
        return
    _invited = mine, port, first
    said = ""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            run(arguments)
            return
        except LearnerLost:
            pass
        except UserError as error:
            if isinstance(error.__cause__, SIGTERMException):
                return
            said = str(error)
        except BaseException as error:
            said = f"{type(error).__name__} {one_line(error)}\n{traceback.format_exc()}".strip()
    with suppress(OSError):
        first.send(said)
    sys.exit(1)
