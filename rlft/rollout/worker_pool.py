"""The workers of a run, wherever they live. One that dies, fails or hangs is replaced, and its request sent again.

That changes no result: what a worker answers is a function of the request alone, and it keeps nothing in between.
"""

from __future__ import annotations

import atexit
import sys
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from rlft.errors import UserError
from rlft.rollout.answering import to_bytes
from rlft.rollout.workers import Answer, Site, WorkerHandle

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
    """Workers, whatever they are, and the queue of jobs that they share.

    Args:
        site: where they are started.
        size: how many.

    Raises:
        UserError: if the site has a place for none of them.
    """

    def __init__(self, site: Site, size: int) -> None:
        self.queue = site.queue
        self.replaced = 0  # workers so far
        self.last_failure = ""  # what the last worker that was replaced has done
        self._site = site
        self._workers: list[WorkerHandle] = []
        _open.add(self)
        try:
            for _ in range(size):
                self._workers.append(site.start())
            self._wait_for_places()
        except BaseException:
            self.close()
            raise

    def _wait_for_places(self) -> None:
        """Returns once all workers are ready, or some after the site's patience; they are enough to begin with."""
        deadline = time.monotonic() + self._site.patience
        while waiting := sum(not worker.ready for worker in self._workers):
            if time.monotonic() < deadline:
                time.sleep(POLL / 5)
                continue
            if waiting == len(self._workers):
                raise UserError(self._site.no_place())
            told = f"{waiting} of {len(self._workers)} rollout workers have no place after {self._site.patience:g} s"
            print(f"{told}; the others do their work until they have.", file=sys.stderr, flush=True)
            return

    def call(
        self,
        method: str,
        common: Mapping[str, Any],
        own: Sequence[Mapping[str, Any]],
        progress: Callable[[], None] = lambda: None,
        attempts: int = ATTEMPTS,
    ) -> list[Any]:
        """Makes `len(own)` calls of `method`, no more than there are workers, all at the same time where all are ready.

        A worker that has answered makes the call of one that still has no place.

        Args:
            method: of `RolloutWorker`.
            common: the arguments that are the same in all calls; they are sent once to every machine.
            own: the others, one mapping per call.
            progress: called at least every `POLL` seconds.
            attempts: at so many failures of the same call the run ends.

        Returns:
            The answers, in the order of the calls.

        Raises:
            UserError: if a worker finds a mistake of the user, or none has a place for as long as the site's patience.
                All workers are ended first, here and below.
            WorkerDied: after `attempts` failures.
        """
        if not self._workers:
            raise WorkerDied("the rollout workers have been closed")
        try:
            return self._call(to_bytes((method, common)), [to_bytes(one) for one in own], progress, attempts)
        except BaseException:  # also Ctrl-C while waiting: answers would be one call behind from here on
            self.close()
            raise

    def _call(self, common: bytes, own: Sequence[bytes], progress: Callable[[], None], attempts: int) -> list[Any]:
        published = self._site.publish(common)
        answers: SimpleQueue[tuple[WorkerHandle, Answer]] = SimpleQueue()
        failures = Counter[int]()
        results: dict[int, Any] = {}
        todo = deque(range(len(own)))
        asked: dict[WorkerHandle, int] = {}  # for whom we wait, and which call that worker makes
        looked, without_place = time.monotonic(), 0.0
        while todo or asked:
            for worker in self._workers:
                if todo and worker not in asked and worker.ready:
                    asked[worker] = todo.popleft()
                    worker.ask(published, own[asked[worker]], answers)
            answered = [(worker, answer) for worker, answer in _next(answers) if worker in asked]
            progress()
            now = time.monotonic()
            passed = min(now - looked, 2 * POLL)
            without_place = 0.0 if asked else without_place + passed
            if without_place > self._site.patience:
                raise UserError(self._site.no_place())
            for worker, answer in answered or self._hanging(asked, passed):
                number = asked.pop(worker)
                if answer.kind == "ok":
                    results[number] = answer.content
                    continue
                failures[number] += 1
                self._replace(worker, answer, failures[number], attempts)
                todo.appendleft(number)
            looked = now
        return [results[number] for number in range(len(own))]

    @staticmethod
    def _hanging(workers: Iterable[WorkerHandle], seconds: float) -> list[tuple[WorkerHandle, Answer]]:
        """Workers that make no progress, as if they had said so."""
        hanging = [worker for worker in workers if worker.heartbeat.silent(seconds)]
        return [(w, Answer("error", f"made no progress for {w.heartbeat.patience:.0f} s")) for w in hanging]

    def _replace(self, worker: WorkerHandle, answer: Answer, failures: int, attempts: int) -> None:
        """Puts a new worker in the place of one, unless that has been of no use."""
        if answer.kind == "user error":
            raise UserError(answer.content)
        self.last_failure = worker.ending() if answer.kind == "gone" else answer.content
        number = self._workers.index(worker)
        who = f"Rollout worker {number + 1} of {len(self._workers)}"
        if failures == attempts:
            times = f", {attempts} times in one request" if attempts > 1 else ""
            raise WorkerDied(f"{who} {self.last_failure}{times}.\n{answer.details}".strip())
        worker.kill()
        worker.release()
        self._workers[number] = self._site.start()
        self.replaced += 1
        print(f"{who} {self.last_failure}; a new process does its work again.", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.release()
        self._workers = []
        self._site.close()


def _next(answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> list[tuple[WorkerHandle, Answer]]:
    """The next answer, if one comes soon."""
    try:
        return [answers.get(timeout=POLL)]
    except Empty:
        return []
