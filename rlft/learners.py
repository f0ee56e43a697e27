"""The learners of a run: processes that share its environments and its minibatches, and make the same gradient steps.

Mostly there is one. Several each simulate a share of the environments and tell each other what came of it, so that all
of them have the data of the whole run, compute the same numbers and decide alike. What they exchange, they exchange in
the same order: whoever asks for something here asks on all learners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class LearnerLost(RuntimeError):
    """Another learner of the run has ended; whoever started them knows which one, and why."""


def shares(total: int, count: int) -> list[range]:
    """`range(total)` in contiguous parts whose lengths differ by at most one: for learners, or for workers of one."""
    return [range(i * total // count, (i + 1) * total // count) for i in range(count)]


@dataclass(frozen=True)
class Place:
    """Which of the learners this process is."""

    rank: int = 0  # from 0; this one writes
    count: int = 1

    def share(self, total: int) -> range:
        """Its own of the `shares`."""
        return shares(total, self.count)[self.rank]


_place = Place()


def place() -> Place:
    """Which of the learners this process is; the only one unless it has taken a place among others."""
    return _place


def take_place(mine: Place) -> None:
    """Says which of the learners this process is from now on; several are connected by `torch.distributed`."""
    global _place
    _place = mine


def gathered(mine: T) -> list[T]:
    """What every learner has, in the order of their ranks.

    Raises:
        LearnerLost: if one has ended, here and below.
    """
    if _place.count == 1:
        return [mine]
    found: list[Any] = [None] * _place.count
    with _together():
        dist.all_gather_object(found, mine)
    return found


def average(tensors: Sequence[Tensor]) -> None:
    """Puts the mean over all learners into tensors that each of them has, in place; bit for bit the same everywhere."""
    if _place.count == 1 or not tensors:
        return
    whole = torch.cat([tensor.flatten() for tensor in tensors])  # one message
    with _together():
        dist.all_reduce(whole)
    whole /= _place.count
    parts = torch.split(whole, [tensor.numel() for tensor in tensors])
    torch._foreach_copy_(list(tensors), [part.view_as(one) for part, one in zip(parts, tensors, strict=True)])


def copy_first(tensors: Sequence[Tensor]) -> None:
    """Puts what the first learner has into the tensors of all, in place."""
    with _together():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def joined(own: Tensor, total: int) -> Tensor:
    """The rows of all learners, `[total, ...]`, of which `own` are those of `Place.share`.

    Differentiable such that the mean over the learners (`average`) of the gradients of the same loss, which each has
    computed from all rows, is its gradient.
    """
    whole: Tensor = _Joined.apply(own, total)  # type: ignore[no-untyped-call]
    return whole


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, total: int) -> Tensor:
        mine = _place.share(total)
        ctx.rows = slice(mine.start, mine.stop)
        whole = own.new_zeros(total, *own.shape[1:])
        whole[ctx.rows] = own
        with _together():
            dist.all_reduce(whole)  # every row is nought but for one learner
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _place.count * gradients[0][ctx.rows], None


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # whatever the library of the connection makes of its end
        raise LearnerLost("another learner of the run has ended") from error
