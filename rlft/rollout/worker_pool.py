"""The worker processes of a run. One that dies, fails or hangs is replaced, and its request sent again.

That changes no result: what a worker answers is a function of the request alone, and it keeps nothing in between.
"""

from __future__ import annotations

import atexit
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from rlft.errors import UserError
from rlft.rollout.job_queue import JobQueue
from rlft.rollout.worker_process import Answer, WorkerProcess, to_bytes
from rlft.types import EnvFactory

POLL = 0.5  # seconds between looks at the workers and reports of progress
ATTEMPTS = 3  # failures of a worker in one request, of which the last ends the run


class WorkerDied(RuntimeError):
    """Rollout workers cannot do what they are asked to: one sentence why, and the traceback if there is one."""


_open: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


@atexit.register  # else multiprocessing would wait for processes that do not hear its SIGTERM
def close_all() -> None:
    """Ends the workers of every pool that is still open, whatever went wrong around it."""
    for pool in list(_open):
        pool.close()


class WorkerPool:
    """Worker processes and the queue of jobs that they share.

    Args:
        factory: how to build the environments.
        shares: which environments each worker has.
    """

    def __init__(self, factory: EnvFactory, shares: Sequence[range]) -> None:
        self.queue = JobQueue()
        self.replaced = 0  # workers so far
        self.last_failure = ""  # what the last worker that was replaced has done
        self._factory, self._shares = factory, shares
        self._workers: list[WorkerProcess] = []
        _open.add(self)
        try:
            for share in shares:
                self._workers.append(WorkerProcess(factory, share, self.queue))
        except BaseException:
            self.close()
            raise

    def call(
        self,
        method: str,
        requests: Sequence[dict[str, Any]],
        progress: Callable[[], None] = lambda: None,
        attempts: int = ATTEMPTS,
    ) -> list[Any]:
        """Calls `method` of the first `len(requests)` workers, each with its own arguments, at the same time.

        Args:
            method: of `RolloutWorker`.
            requests: its arguments, one mapping per worker.
            progress: called at least every `POLL` seconds.
            attempts: at so many failures of the same worker the run ends.

        Returns:
            The answers, in the order of the requests.

        Raises:
            UserError: if a worker finds a mistake of the user. All workers are ended first, here and below.
            WorkerDied: after `attempts` failures.
        """
        if not self._workers:
            raise WorkerDied("the rollout workers have been closed")
        try:
            return self._call(method, requests, progress, attempts)
        except BaseException:  # also Ctrl-C while waiting: answers would be one call behind from here on
            self.close()
            raise

    def _call(
        self, method: str, requests: Sequence[dict[str, Any]], progress: Callable[[], None], attempts: int
    ) -> list[Any]:
        pickled = {id(request): to_bytes((method, request)) for request in requests}  # once if it is the same for all
        messages = [pickled[id(request)] for request in requests]
        answers: SimpleQueue[tuple[WorkerProcess, Answer]] = SimpleQueue()
        failures = Counter[int]()
        results: dict[int, Any] = {}
        waiting: dict[WorkerProcess, int] = {}  # for whom, and which request that worker has

        def ask(number: int) -> None:
            waiting[self._workers[number]] = number
            self._workers[number].ask(messages[number], answers)

        for number in range(len(messages)):
            ask(number)
        looked = time.monotonic()
        while waiting:
            answered = [(worker, answer) for worker, answer in _next(answers) if worker in waiting]
            progress()
            now = time.monotonic()
            for worker, answer in answered or self._hanging(waiting, min(now - looked, 2 * POLL)):
                number = waiting.pop(worker)
                if answer.kind == "ok":
                    results[number] = answer.content
                    continue
                failures[number] += 1
                self._replace(number, answer, failures[number], attempts)
                ask(number)
            looked = now
        return [results[number] for number in range(len(messages))]

    @staticmethod
    def _hanging(workers: Iterable[WorkerProcess], seconds: float) -> list[tuple[WorkerProcess, Answer]]:
        """Workers that make no progress, as if they had said so."""
        hanging = [worker for worker in workers if worker.heartbeat.silent(seconds)]
        return [(w, Answer("error", f"made no progress for {w.heartbeat.patience:.0f} s")) for w in hanging]

    def _replace(self, number: int, answer: Answer, failures: int, attempts: int) -> None:
        """Puts a new process in the place of worker `number`, unless that has been of no use."""
        if answer.kind == "user error":
            raise UserError(answer.content)
        worker = self._workers[number]
        self.last_failure = worker.ending() if answer.kind == "gone" else answer.content
        who = f"Rollout worker {number + 1} of {len(self._workers)}"
        if failures == attempts:
            times = f", {attempts} times in one request" if attempts > 1 else ""
            raise WorkerDied(f"{who} {self.last_failure}{times}.\n{answer.details}".strip())
        worker.kill()
        worker.release()
        self._workers[number] = WorkerProcess(self._factory, self._shares[number], self.queue)
        self.replaced += 1
        print(f"{who} {self.last_failure}; a new process does its work again.", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.release()
        self._workers = []


def _next(answers: SimpleQueue[tuple[WorkerProcess, Answer]]) -> list[tuple[WorkerProcess, Answer]]:
    """The next answer, if one comes soon."""
    try:
        return [answers.get(timeout=POLL)]
    except Empty:
        return []
