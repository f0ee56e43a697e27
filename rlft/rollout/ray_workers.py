"""Workers as actors of a Ray cluster, which replaces the pipe, the shared memory and the file of local processes."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import threading
from array import array
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from rlft.errors import UserError, one_line, require
from rlft.rollout.answering import Answering
from rlft.rollout.heartbeat import Heartbeat
from rlft.rollout.worker_process import GRACE, signals_blocked
from rlft.rollout.workers import Answer, Site, WorkerHandle, Workers
from rlft.types import EnvFactory

CONNECT = 10.0  # seconds until a machine that does not answer is none
AHEAD = 8  # re-rollouts that a worker asks for before it wants them: the network's latency passes while it plays others


class Ray(Workers):
    """Workers as actors of the Ray cluster of RAY_ADDRESS, of one that runs on this machine, or of a new one here.

    A cluster that was there stays as it is; a new one ends with this process.

    Args:
        num_cpus: processor cores of the cluster that a worker takes; 0.5 has two of them share one.
        resources: what else of the cluster it takes, by the names that `ray start --resources` has given.
        patience: seconds without a place for any worker after which the run ends; some are enough to go on.
    """

    def __init__(
        self, num_cpus: float = 1.0, resources: dict[str, float] | None = None, patience: float = 60.0
    ) -> None:
        self.resources = dict(resources or {})
        for name, value in {"num_cpus": num_cpus, "patience": patience, **self.resources}.items():
            require(0 < value < float("inf"), f"Ray.{name}", value, "above 0 and finite")
        self.num_cpus = num_cpus
        self.patience = patience

    def count(self, factory: EnvFactory) -> int:
        """As many as the cluster has processor cores for."""
        return max(1, int(_connected().cluster_resources().get("CPU", 0) / self.num_cpus))

    def open(self, factory: EnvFactory, scenes: int) -> Site:
        """See `Workers.open`.

        Raises:
            UserError: if there is no such cluster.
        """
        return _Cluster(_connected(), factory, scenes, self)


def _connected() -> Any:
    """The module, connected to a cluster.

    Raises:
        UserError: if that cannot be had.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("workers Ray needs Ray; pip install 'rlft[ray]'.") from error
    if ray.is_initialized():
        return ray
    address, ours = os.environ.get("RAY_ADDRESS", ""), signal.getsignal(signal.SIGTERM)
    is_there = address not in ("", "local", "auto")
    if is_there:
        _look_for(address)
    try:
        # what a new cluster starts belongs to this process group, and must not hear what is meant for the run
        with nullcontext() if is_there else signals_blocked():
            ray.init(log_to_driver=False, logging_level="error")
    except Exception as error:  # Ray's are of many kinds
        raise UserError(f"Ray cannot be used: {one_line(error)}") from error
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere Ray leaves the handler alone
            signal.signal(signal.SIGTERM, ours)
    return ray


def _look_for(address: str) -> None:
    """Refuses an address at which nobody listens; Ray would try for many minutes.

    Raises:
        UserError: if it is one.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()
    except (OSError, ValueError) as error:
        allowed = "host:port, as `ray start --head` prints it"
        raise UserError(f"RAY_ADDRESS is {address}, where no Ray cluster answers; it must be {allowed}.") from error


class _Cluster:
    """Implements `Site`."""

    def __init__(self, ray: Any, factory: EnvFactory, scenes: int, asked: Ray) -> None:
        self.patience = asked.patience
        self.queue = _SharedQueue(ray)
        self._ray, self._scenes, self._asked = ray, scenes, asked
        self._factory = ray.put(factory)
        options = {"num_cpus": asked.num_cpus, "resources": asked.resources}
        self._class = ray.remote(_Actor).options(**options, max_concurrency=2)  # the second thread tells of the first

    def start(self) -> RayWorker:
        arguments = (os.getcwd(), self._factory, self._scenes, self.queue.actor)
        return RayWorker(self._ray, self._class.remote(*arguments))

    def publish(self, content: bytes) -> Any:
        """Workers of one machine share what this refers to."""
        return self._ray.put(content)

    def no_place(self) -> str:
        needs = {"CPU": self._asked.num_cpus, **self._asked.resources}
        has = self._ray.cluster_resources()
        told = [f"{number:g} {name}, of which the cluster has {has.get(name, 0):g}" for name, number in needs.items()]
        return (
            f"No rollout worker has a place on the Ray cluster after {self.patience:g} s: each takes {'; '.join(told)}."
        )

    def close(self) -> None:
        self.queue.close()


class _Actor:
    """The process of a worker.

    Args:
        directory: where the run was started; files are looked for there, if it is there.
        factory: how to build the environments.
        scenes: how many.
        queue: actor of a `_Jobs`.
    """

    def __init__(self, directory: str, factory: EnvFactory, scenes: int, queue: Any) -> None:
        import ray

        with suppress(OSError):
            os.chdir(directory)
        self._beats, self._building = SimpleNamespace(value=0), SimpleNamespace(value=1)
        take = _Ahead(queue, ray.get).take
        self._answering = Answering(factory, scenes, take, Heartbeat(self._beats, self._building))

    def started(self) -> None:
        """Answered once there is a process."""

    def answer(self, common: bytes, own: bytes) -> bytes:
        """See `Answering.answer`."""
        return self._answering.answer(common, own)

    def beats(self) -> tuple[int, int]:
        """What the heartbeat has written."""
        return self._beats.value, self._building.value


class RayWorker:
    """An actor; implements `WorkerHandle`."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self.heartbeat = _FarHeartbeat(ray, actor)
        self._started = actor.started.remote()
        self._exchanging: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def ready(self) -> bool:
        """Whether it has a place, or has failed to begin there."""
        return bool(self._ray.wait([self._started], timeout=0)[0])

    def ask(self, common: Any, own: bytes, answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> None:
        """Sends a request; a thread waits for the answer."""
        self.heartbeat.expect()
        reference = self._actor.answer.remote(common, own)
        self._exchanging = threading.Thread(target=self._wait, args=(reference, answers), daemon=True)
        self._exchanging.start()

    def _wait(self, reference: Any, answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> None:
        answer = Answer("gone")
        try:
            answer = pickle.loads(self._ray.get(reference))
        except Exception as error:  # Ray's are of many kinds
            self._error = error
        answers.put((self, answer))

    def ending(self) -> str:
        """What Ray says of it."""
        return f"was lost: {_reason(str(self._error))}"

    def kill(self) -> None:
        """Ends the actor, or its wait for a place."""
        if self._ray.is_initialized():  # else Ray has ended it, and would start anew
            self._ray.kill(self._actor)

    def release(self) -> None:
        """Waits until its last request is known to be lost."""
        if self._exchanging:
            self._exchanging.join(timeout=GRACE)


def _reason(error: str) -> str:
    """The one fact in a page of Ray's about a lost actor."""
    if "creation task" in error:  # a traceback, of which the last line says it
        return error.strip().splitlines()[-1]
    found = re.search(r"because (its .*? has died)", error)
    return found[1] if found else error.strip().splitlines()[0].rstrip(".")


class _Asked:
    """A number, or several, that an actor tells when it comes to it, and that nobody waits for.

    Args:
        ray: the module.
        method: of the actor.
        last: what is known before it has answered.
    """

    def __init__(self, ray: Any, method: Any, last: Any) -> None:
        self._ray, self._method, self._last = ray, method, last
        self._reference: Any = None

    def last(self) -> Any:
        """What it has told last; asks again once it has answered."""
        if self._reference is not None and self._ray.wait([self._reference], timeout=0)[0]:
            with suppress(self._ray.exceptions.RayError):  # it is gone, which its next answer will say
                self._last = self._ray.get(self._reference)
            self._reference = None
        if self._reference is None:
            self._reference = self._method.remote()
        return self._last


class _FarHeartbeat(Heartbeat):
    """That of an actor, as far as it has come here."""

    def __init__(self, ray: Any, actor: Any) -> None:
        super().__init__(SimpleNamespace(value=0), SimpleNamespace(value=1))
        self._asked = _Asked(ray, actor.beats, (0, 1))

    def expect(self) -> None:
        """See `Heartbeat.expect`; whether it is building is asked before it can hang."""
        super().expect()
        self._asked.last()

    def silent(self, seconds: float) -> bool:
        """See `Heartbeat.silent`; an actor that does not tell has not got on."""
        self.beats.value, self.is_building.value = self._asked.last()
        return super().silent(seconds)


# ---- the queue of re-rollouts ------------------------------------------------------------------------------------


class _Jobs:
    """The queue: an actor that has nothing else to do. One that Ray starts again is empty, as if all were taken."""

    def __init__(self) -> None:
        self._jobs, self._taken = array("q"), 0

    def fill(self, jobs: array[int]) -> None:
        """See `Queue.fill`."""
        self._jobs, self._taken = jobs, 0

    def take(self, count: int) -> list[int]:
        """Takes up to `count` jobs; fewer, or none, once the queue is empty."""
        jobs = self._jobs[self._taken : self._taken + count].tolist()
        self._taken += len(jobs)
        return jobs

    def taken(self) -> int:
        """How many jobs have been taken."""
        return self._taken


class _SharedQueue:
    """The queue as the driver sees it, on whose machine it is; implements `Queue`."""

    def __init__(self, ray: Any) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
        self.actor = ray.remote(_Jobs).options(**options).remote()
        self._ray = ray
        self._taken = _Asked(ray, self.actor.taken, 0)

    def fill(self, jobs: Iterable[int]) -> None:
        """See `Queue.fill`."""
        self._ray.get(self.actor.fill.remote(array("q", jobs)))
        self._taken = _Asked(self._ray, self.actor.taken, 0)

    def taken(self) -> int:
        """See `Queue.taken`."""
        return int(self._taken.last())

    def close(self) -> None:
        """Ends the actor."""
        if self._ray.is_initialized():
            self._ray.kill(self.actor)


class _Ahead:
    """Takes jobs off the queue for one worker, and asks for some more before they are wanted.

    Args:
        queue: actor of a `_Jobs`.
        get: waits for what it answers.
    """

    def __init__(self, queue: Any, get: Callable[[Any], list[int]]) -> None:
        self._queue, self._get = queue, get
        self._jobs: list[int] = []
        self._coming: Any = None

    def take(self, count: int) -> list[int]:
        """Takes up to `count` jobs; fewer, or none, once the queue is empty."""
        full = True
        if self._coming is not None:
            came, self._coming = self._get(self._coming), None
            self._jobs, full = self._jobs + came, len(came) == AHEAD
        if full and (missing := count - len(self._jobs)) > 0:
            came = self._get(self._queue.take.remote(missing))
            self._jobs, full = self._jobs + came, len(came) == missing
        if full:
            self._coming = self._queue.take.remote(AHEAD)
        taken, self._jobs = self._jobs[:count], self._jobs[count:]
        return taken
