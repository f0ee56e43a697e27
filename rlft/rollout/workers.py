"""What a pool needs of its workers, wherever they live: processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple, Protocol

from rlft.rollout.heartbeat import Heartbeat
from rlft.types import EnvFactory


class Answer(NamedTuple):
    """What a worker has to say, or what can be said of it."""

    kind: Literal["ok", "user error", "error", "gone"]
    content: Any = ""  # the result; else the user's mistake, or how a sentence about the worker goes on
    details: str = ""  # a traceback


class WorkerHandle(Protocol):
    """One worker, as the pool sees it."""

    @property
    def heartbeat(self) -> Heartbeat:
        """Whether it gets on."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it can be asked: it has a process, or has failed to get one, which its answer will say."""
        ...

    def ask(self, common: Any, own: bytes, answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> None:
        """Sends a request, of which `Site.publish` has seen the common part; its answer goes to `answers`."""
        ...

    def ending(self) -> str:
        """How it ended, for a sentence that begins with the worker."""
        ...

    def kill(self) -> None:
        """Ends it, whatever it is doing. Idempotent."""
        ...

    def release(self) -> None:
        """Waits for the end of a killed worker and frees what it held here."""
        ...


class Queue(Protocol):
    """Numbers of jobs that all workers take."""

    def fill(self, jobs: Iterable[int]) -> None:
        """Puts these jobs in place of what there was, while nobody takes any."""
        ...

    def taken(self) -> int:
        """How many jobs have been taken, as far as is known here."""
        ...


class Site(Protocol):
    """Where the workers of one pool are started."""

    patience: float  # seconds in which some worker must get a place

    @property
    def queue(self) -> Queue:
        """What they take jobs off."""
        ...

    def start(self) -> WorkerHandle:
        """A new worker; it builds its environments when it is first asked for something."""
        ...

    def publish(self, content: bytes) -> Any:
        """Makes the part of a request that is the same for all workers known to them; what `ask` takes of it."""
        ...

    def no_place(self) -> str:
        """What to say where no worker has got a place."""
        ...

    def close(self) -> None:
        """Frees what is left when all workers have ended. Idempotent."""
        ...


class Workers(ABC):
    """Where the workers of a run live. It changes no result."""

    @abstractmethod
    def count(self, factory: EnvFactory) -> int:
        """How many are right where nobody says it; 0 simulates in the main process."""

    @abstractmethod
    def open(self, factory: EnvFactory, scenes: int) -> Site:
        """A site for workers that have `scenes` environments each.

        Raises:
            UserError: if there is none.
        """
