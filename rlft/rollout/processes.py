"""Rollouts in worker processes: one message there and one back per rollout."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import torch

from rlft.errors import UserError
from rlft.rollout.worker import RolloutWorker
from rlft.types import Actor, Branches, EnvFactory, EnvSpec, EnvStates, EpisodeResults, Jobs, Rollout, Visited

POLL = 0.5  # seconds between reports of progress
PR_SET_PDEATHSIG = 1  # prctl(2): a signal to receive when the parent dies


class WorkerDied(RuntimeError):
    """A rollout worker ended or failed; the message holds its traceback if it could still send one."""


_open: weakref.WeakSet[ProcessRollouts] = weakref.WeakSet()


def close_all() -> None:
    """Ends the workers of every pool that is still open, whatever went wrong around it."""
    for rollouts in list(_open):
        rollouts.close()


class ProcessRollouts:
    """The environments of a run, split over worker processes; implements `rlft.types.Rollouts`.

    Args:
        factory: how to build the environments.
        num_envs: environments in all.
        num_workers: processes; each takes a contiguous share of the environments.

    Raises:
        UserError: if the workers cannot build the environments as configured.
        WorkerDied: if a worker ends or fails, now or in any later call. The others are ended first.
    """

    def __init__(self, factory: EnvFactory, num_envs: int, num_workers: int) -> None:
        self.num_envs = num_envs
        num_workers = min(num_workers, num_envs)
        self.shares = _split(num_envs, num_workers)
        _open.add(self)
        context = multiprocessing.get_context("spawn")  # a fork of a process that holds torch threads can deadlock
        self._begun = context.Value("q")  # re-rollouts taken off the queue by all workers
        self._workers: list[tuple[Any, Connection]] = []
        for share in self.shares:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, factory, share, self._begun, os.getpid()), daemon=True
            )
            with _ctrl_c_ignored():
                process.start()
            theirs.close()
            self._workers.append((process, ours))
        specs: list[EnvSpec] = self._receive(self._workers)
        self.spec = specs[0]

    def initial_states(self, seed: int) -> EnvStates:
        """The first episode of every environment."""
        return EnvStates.cat(self._call("initial_states", [{"seed": seed} for _ in self.shares]))

    def collect(
        self, actor: Actor, states: EnvStates, num_steps: int, seed: int, iteration: int, *, keep_visited: bool = False
    ) -> tuple[Rollout, EnvStates, Visited]:
        """Acts for `num_steps`; see `RolloutWorker.collect`."""
        common = {"num_steps": num_steps, "seed": seed, "iteration": iteration, "num_envs": self.num_envs}
        common["keep_visited"] = keep_visited
        jobs = [{"actor": actor, "states": states[slice(s.start, s.stop)], **common} for s in self.shares]
        rollouts, ends, visited = zip(*self._call("collect", jobs), strict=True)
        return Rollout.cat(rollouts, dim=1), EnvStates.cat(ends), Visited.cat(visited)

    def play(
        self,
        actor: Actor,
        states: EnvStates,
        jobs: Jobs,
        *,
        gamma: float,
        seed: int,
        iteration: int,
        progress: Callable[[int], None],
    ) -> tuple[Branches, int]:
        """Plays re-rollouts, which all workers take off one queue; see `RolloutWorker.play`."""
        self._begun.get_obj().value = 0  # without the lock, which a worker may have taken to its grave
        arguments = {"actor": actor, "states": states, "jobs": jobs, "gamma": gamma}
        arguments |= {"seed": seed, "iteration": iteration}
        answers = self._call("play", [arguments] * len(self.shares), lambda: progress(self._begun.get_obj().value))
        rows, branches, simulated = zip(*answers, strict=True)
        return Branches.cat(branches)[torch.cat(rows).argsort()], sum(simulated)

    def evaluate(self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool) -> EpisodeResults:
        """Plays evaluation episodes, split evenly; see `RolloutWorker.evaluate`."""
        parts = _split(num_episodes, min(num_episodes, len(self.shares)))
        common = {"actor": actor, "seed": seed, "deterministic": deterministic}
        return EpisodeResults.cat(self._call("evaluate", [{"episodes": part, **common} for part in parts]))

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        for process, connection in self._workers:
            connection.close()
            process.terminate()
        for process, _ in self._workers:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers = []

    def _call(
        self, method: str, jobs: Sequence[dict[str, Any]], progress: Callable[[], None] = lambda: None
    ) -> list[Any]:
        """Calls `method` of the first `len(jobs)` workers, each with its own arguments, at the same time."""
        if not self._workers:
            raise WorkerDied("the rollout workers have been closed")
        workers = self._workers[: len(jobs)]
        messages: dict[int, bytes] = {}  # what is the same for several workers is pickled once
        for (process, connection), job in zip(workers, jobs, strict=True):
            try:
                if id(job) not in messages:
                    messages[id(job)] = _pickle((method, job))
                connection.send_bytes(messages[id(job)])
            except OSError:
                self._fail(process, connection)
            except BaseException:  # as in `_receive`
                self.close()
                raise
        return self._receive(workers, progress)

    def _receive(
        self, workers: Sequence[tuple[Any, Connection]], progress: Callable[[], None] = lambda: None
    ) -> list[Any]:
        """One answer of each worker, in their order; the first failure of any of them ends all."""
        processes = {connection: process for process, connection in workers}
        answers: dict[Connection, Any] = {}
        while len(answers) < len(workers):
            try:
                ready = wait([c for c in processes if c not in answers], timeout=POLL)
                progress()
                for connection in ready:
                    assert isinstance(connection, Connection)
                    answers[connection] = self._checked(processes[connection], connection)
            except BaseException:  # also Ctrl-C while waiting: answers would be one call behind from here on
                self.close()
                raise
        return [answers[connection] for _, connection in workers]

    def _checked(self, process: Any, connection: Connection) -> Any:
        """The answer that `connection` is ready to give, if it is not a failure."""
        try:
            kind, answer = _receive(connection)
        except (EOFError, OSError):
            self._fail(process, connection)
        if kind == "ok":
            return answer
        raise UserError(answer) if kind == "user error" else WorkerDied(f"a rollout worker failed:\n{answer}")

    def _fail(self, process: Any, connection: Connection) -> NoReturn:
        """Reports a worker that is gone, with its last words if there are any."""
        last_words = ""
        with contextlib.suppress(EOFError, OSError):
            last_words = f":\n{_receive(connection)[1]}"
        process.join(timeout=5)
        self.close()
        raise WorkerDied(f"rollout worker {process.pid} ended with exit code {process.exitcode}{last_words}")


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """What is started within never sees Ctrl-C: it reaches the whole process group, and the main process decides."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _split(total: int, parts: int) -> list[range]:
    """`range(total)` in contiguous parts of (nearly) equal length."""
    return [range(i * total // parts, (i + 1) * total // parts) for i in range(parts)]


def _pickle(message: Any) -> bytes:
    """Plain pickle: torch would otherwise send every tensor as a shared-memory file that both sides must keep alive."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def _receive(connection: Connection) -> Any:
    return pickle.loads(connection.recv_bytes())


def _serve(connection: Connection, factory: EnvFactory, env_ids: range, begun: Any, parent: int) -> None:
    """A worker process: builds its environments, then answers calls until the connection closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return
    torch.set_num_threads(1)
    worker: RolloutWorker | None = None

    def build() -> EnvSpec:
        nonlocal worker
        worker = RolloutWorker(factory, env_ids)
        return worker.env.spec

    _answer(connection, build)
    while True:
        try:
            method, arguments = _receive(connection)
        except (EOFError, OSError):
            return
        if method == "play":
            arguments["take"] = partial(_take, begun, len(arguments["jobs"]))
        _answer(connection, partial(getattr(worker, method), **arguments))


def _take(begun: Any, total: int, count: int) -> range:
    """Takes up to `count` of `total` jobs off the queue that all workers share."""
    with begun.get_lock():
        first, begun.value = begun.value, min(begun.value + count, total)
        return range(first, begun.value)


def _answer(connection: Connection, work: Callable[[], Any]) -> None:
    try:
        answer = ("ok", work())
    except UserError as error:
        answer = ("user error", str(error))
    except Exception:
        answer = ("error", traceback.format_exc())
    with contextlib.suppress(OSError):  # the main process has gone; the next `recv` will notice
        connection.send_bytes(_pickle(answer))
