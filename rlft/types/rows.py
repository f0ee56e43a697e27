"""Tensors that belong together, row by row.

Legend of shapes, for all of rlft: `T` steps, `N` environments, `M` states, `B` minibatch, `O` observation, `A` action,
`P` bytes of packed physics, `Q` numbers of task and controller state, `E` episodes, `J` re-rollouts, `Z` noise of
a decision, `K` actions that are predicted, or random choices of one decision, `I` numbers that a task tells of a step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

NOTHING = torch.zeros(0)  # default of a field of which most rows have nothing, for `filled`
Index = Tensor | slice | Sequence[int] | tuple[Tensor | slice | int | None, ...]


@dataclass(frozen=True)
class TensorRows:
    """Base of dataclasses whose fields are tensors with common leading dimensions, or rows of such tensors again."""

    def __len__(self) -> int:
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def __getitem__(self, rows: Index) -> Self:
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def __setitem__(self, rows: Index, values: Self) -> None:
        """Writes rows in place, as of tensors."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[rows] = getattr(values, field.name)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        first: Tensor | TensorRows = getattr(self, dataclasses.fields(self)[0].name)
        return first.device

    @classmethod
    def cat(cls, parts: Sequence[Self], dim: int = 0) -> Self:
        """Joins parts along `dim`."""
        joined: Self = _joined(torch.cat, parts, dim)
        return joined

    @classmethod
    def stack(cls, parts: Sequence[Self], dim: int = 0) -> Self:
        """Joins parts along a new dimension `dim`."""
        joined: Self = _joined(torch.stack, parts, dim)
        return joined

    def to(self, device: torch.device | str) -> Self:
        """The same on another device; Lightning calls this for batches."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)})

    def in_parts(self, size: int = 1024) -> Iterator[Self]:
        """The rows in order, at most `size` at a time: of pictures, networks need much memory for each."""
        return (self[first : first + size] for first in range(0, len(self), size))

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same of every tensor."""
        mapped: Self = _mapped(function, self)
        return mapped


def filled(rows: TensorRows, name: str, like: Tensor) -> None:
    """Gives a field that nobody has given a width of 0, with the leading dimensions of `like`."""
    if getattr(rows, name) is NOTHING:
        object.__setattr__(rows, name, like.new_empty((*like.shape, 0)))


def _mapped(function: Callable[[Tensor], Tensor], rows: Any) -> Any:
    """Rows, field by field, or a tensor."""
    if isinstance(rows, Tensor):
        return function(rows)
    return type(rows)(**{f.name: _mapped(function, getattr(rows, f.name)) for f in dataclasses.fields(rows)})


def _joined(join: Callable[..., Tensor], parts: Sequence[Any], dim: int) -> Any:
    """Rows, field by field, or tensors."""
    if isinstance(parts[0], Tensor):
        return join(parts, dim)
    names = [field.name for field in dataclasses.fields(parts[0])]
    return type(parts[0])(**{name: _joined(join, [getattr(part, name) for part in parts], dim) for name in names})
