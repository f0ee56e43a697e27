"""What every worker process does, wherever it runs: it answers one request after the other."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch

from rlft.errors import UserError
from rlft.rollout.heartbeat import BeatingFactory, Heartbeat
from rlft.rollout.worker import RolloutWorker
from rlft.rollout.workers import Answer
from rlft.types import EnvFactory


class Answering:
    """Answers requests with a `RolloutWorker`, which it builds when it is first asked for something.

    Args:
        factory: how to build the environments.
        scenes: how many.
        take: takes jobs off the queue of the run.
        heartbeat: where it says that it gets on.
    """

    def __init__(
        self, factory: EnvFactory, scenes: int, take: Callable[[int], Sequence[int]], heartbeat: Heartbeat
    ) -> None:
        self._factory, self._scenes, self._take = BeatingFactory(factory, heartbeat), scenes, take
        self._worker: RolloutWorker | None = None

    def answer(self, common: bytes, own: bytes) -> bytes:
        """The pickled `Answer` to a request: a method of the worker and its arguments.

        Args:
            common: pickled name of the method, and those arguments that are the same for all workers.
            own: the other arguments, pickled.
        """
        torch.set_num_threads(1)
        try:
            method, arguments = pickle.loads(common)
            arguments |= pickle.loads(own)
            self._worker = self._worker or RolloutWorker(self._factory, self._scenes)
            if method == "play":
                arguments["take"] = self._take
            return to_bytes(Answer("ok", getattr(self._worker, method)(**arguments)))
        except UserError as error:
            return to_bytes(Answer("user error", str(error)))
        except Exception as error:
            line = traceback.format_exception_only(error)[-1].splitlines()[0]
            return to_bytes(Answer("error", f"failed with {line}", traceback.format_exc()))


def to_bytes(message: Any) -> bytes:
    """Plain pickle: torch would otherwise send every tensor as a shared-memory file that both sides must keep alive."""
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
