"""Workers as processes of this machine: the life of one, as the main process sees it, and what runs in it."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from queue import SimpleQueue

from rlft.rollout.answering import Answering
from rlft.rollout.heartbeat import Heartbeat
from rlft.rollout.job_queue import JobQueue
from rlft.rollout.workers import Answer, Site, WorkerHandle, Workers
from rlft.system import available_cores, end_with_parent, how_ended
from rlft.types import EnvFactory

GRACE = 5.0  # seconds until a killed process is given up: the system cannot end one that waits for a device
FOR_THE_RUN = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


class WorkerProcess:
    """A process of this machine; implements `WorkerHandle`.

    Args:
        factory: how to build the environments.
        scenes: how many it has.
        queue: where it takes re-rollouts.
    """

    ready = True  # what a process is asked while it starts, it hears then

    def __init__(self, factory: EnvFactory, scenes: int, queue: JobQueue) -> None:
        context = start_context()
        self.heartbeat = Heartbeat(context.RawValue("Q", 0), context.RawValue("b", 1))
        self._connection, theirs = context.Pipe()
        arguments = (theirs, factory, scenes, queue, self.heartbeat, os.getpid())
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._exchanging: threading.Thread | None = None
        with signals_blocked():
            self._process.start()
        theirs.close()

    def ask(self, common: bytes, own: bytes, answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> None:
        """Sends a request; its answer goes to `answers`.

        A thread does it: both ways a message can be larger than what the system keeps for a process that has stopped.
        """
        self.heartbeat.expect()
        self._exchanging = threading.Thread(target=self._exchange, args=(common, own, answers), daemon=True)
        self._exchanging.start()

    def _exchange(self, common: bytes, own: bytes, answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> None:
        answer = Answer("gone")
        with suppress(EOFError, OSError):
            self._connection.send_bytes(common)
            self._connection.send_bytes(own)
            answer = pickle.loads(self._connection.recv_bytes())
        answers.put((self, answer))

    def ending(self) -> str:
        """How the process ended, for a sentence that begins with the worker."""
        self._process.join(timeout=GRACE)
        code = self._process.exitcode
        if code is None:
            return "closed its connection"
        return how_ended(code) + (" (as the system does when memory runs out)" if code == -signal.SIGKILL else "")

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


class _ThisMachine:
    """Implements `Site`."""

    patience = float("inf")  # there is always a place

    def __init__(self, factory: EnvFactory, scenes: int) -> None:
        self.queue = JobQueue()
        self._factory, self._scenes = factory, scenes

    def start(self) -> WorkerProcess:
        return WorkerProcess(self._factory, self._scenes, self.queue)

    def publish(self, content: bytes) -> bytes:
        return content

    def no_place(self) -> str:
        return "This machine starts no processes."

    def close(self) -> None:
        """The queue vanishes with the last process."""


class Processes(Workers):
    """Processes of this machine, which is the default."""

    def count(self, factory: EnvFactory) -> int:
        """One per processor core that this process may use; 0 where a GPU simulates."""
        return 0 if factory.on_gpu() else available_cores()

    def open(self, factory: EnvFactory, scenes: int) -> Site:
        """See `Workers.open`."""
        return _ThisMachine(factory, scenes)


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
    connection: Connection, factory: EnvFactory, scenes: int, queue: JobQueue, heartbeat: Heartbeat, parent: int
) -> None:
    """A worker process: answers requests until the connection closes or the main process ends."""
    if not end_with_parent(parent, signal.SIGKILL):
        return
    if sys.stderr is not None:
        faulthandler.enable()  # a crash of the simulator shows where it was
    answering = Answering(factory, scenes, queue.take, heartbeat)
    with suppress(EOFError, OSError):  # the main process has gone
        while True:
            connection.send_bytes(answering.answer(connection.recv_bytes(), connection.recv_bytes()))
