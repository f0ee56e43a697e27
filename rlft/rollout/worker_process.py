"""One worker process: its life, as the main process sees it, and what runs in it."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple

import torch

from rlft.errors import UserError
from rlft.rollout.heartbeat import BeatingFactory, Heartbeat
from rlft.rollout.job_queue import JobQueue
from rlft.rollout.worker import RolloutWorker
from rlft.system import end_with_parent
from rlft.types import EnvFactory

GRACE = 5.0  # seconds until a killed process is given up: the system cannot end one that waits for a device
FOR_THE_RUN = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


class Answer(NamedTuple):
    """What a worker has to say, or what can be said of it."""

    kind: Literal["ok", "user error", "error", "gone"]
    content: Any = ""  # the result; else the user's mistake, or how a sentence about the worker goes on
    details: str = ""  # a traceback


class WorkerProcess:
    """A process that acts in environments `env_ids`; it builds them when it is first asked for something.

    Args:
        factory: how to build the environments.
        env_ids: which of the run's environments these are.
        queue: where it takes re-rollouts.
    """

    def __init__(self, factory: EnvFactory, env_ids: Sequence[int], queue: JobQueue) -> None:
        context = start_context()
        self.heartbeat = Heartbeat(context)
        self._connection, theirs = context.Pipe()
        arguments = (theirs, factory, env_ids, queue, self.heartbeat, os.getpid())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._exchanging: threading.Thread | None = None
        with signals_blocked():
            self._process.start()
        theirs.close()

    def ask(self, request: bytes, answers: SimpleQueue[tuple[WorkerProcess, Answer]]) -> None:
        """Sends a request; its answer goes to `answers`.

        A thread does it: both ways a message can be larger than what the system keeps for a process that has stopped.
        """
        self.heartbeat.expect()
        self._exchanging = threading.Thread(target=self._exchange, args=(request, answers), daemon=True)
        self._exchanging.start()

    def _exchange(self, request: bytes, answers: SimpleQueue[tuple[WorkerProcess, Answer]]) -> None:
        answer = Answer("gone")
        with suppress(EOFError, OSError):
            self._connection.send_bytes(request)
            answer = pickle.loads(self._connection.recv_bytes())
        answers.put((self, answer))

    def ending(self) -> str:
        """How the process ended, for a sentence that begins with the worker."""
        self._process.join(timeout=GRACE)
        code = self._process.exitcode
        if code is None:
            return "closed its connection"
        if code >= 0:
            return f"ended with exit status {code}"
        hint = " (as the system does when memory runs out)" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()

    def release(self) -> None:
        """Waits for the end of a killed process and frees what it held here."""
        self._process.join(timeout=GRACE)
        if self._exchanging:
            self._exchanging.join(timeout=GRACE)
        if not (self._exchanging and self._exchanging.is_alive()):
            self._connection.close()


def to_bytes(message: Any) -> bytes:
    """Plain pickle: torch would otherwise send every tensor as a shared-memory file that both sides must keep alive."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def start_context() -> SpawnContext:
    """Of new processes: a fork of one that holds torch threads can deadlock."""
    return multiprocessing.get_context("spawn")


@contextmanager
def signals_blocked() -> Iterator[None]:
    """A process started within never hears what is meant for the run.

    Ctrl-C, the SIGTERM of a batch system and SLURM's SIGUSR1 reach the whole process group, and the main process
    decides what comes of them. Blocked signals stay blocked in the new process; none that arrives here is lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_RUN)
    try:
        resource_tracker.ensure_running()  # would be started with the first process, and unblock the signals
        signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_RUN)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    connection: Connection,
    factory: EnvFactory,
    env_ids: Sequence[int],
    queue: JobQueue,
    heartbeat: Heartbeat,
    parent: int,
) -> None:
    """A worker process: answers requests until the connection closes or the main process ends."""
    if not end_with_parent(parent, signal.SIGKILL):
        return
    if sys.stderr is not None:
        faulthandler.enable()  # a crash of the simulator shows where it was
    torch.set_num_threads(1)
    worker: RolloutWorker | None = None
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            method, arguments = pickle.loads(request)
            worker = worker or RolloutWorker(BeatingFactory(factory, heartbeat), env_ids)
            if method == "play":
                arguments["take"] = queue.take
            answer = to_bytes(Answer("ok", getattr(worker, method)(**arguments)))
        except UserError as error:
            answer = to_bytes(Answer("user error", str(error)))
        except Exception as error:
            line = traceback.format_exception_only(error)[-1].splitlines()[0]
            answer = to_bytes(Answer("error", f"failed with {line}", traceback.format_exc()))
        with suppress(OSError):  # the main process has gone; the next request will not come
            connection.send_bytes(answer)
