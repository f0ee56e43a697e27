"""Tensors that belong together, row by row.

Legend of shapes, for all of rlft: `T` steps, `N` environments, `M` states, `B` minibatch, `O` observation, `A` action,
`P` bytes of packed physics, `Q` numbers of task and controller state, `E` episodes, `J` re-rollouts, `Z` noise of
a decision, `K` actions that are predicted, or random choices of one decision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorRows:
    """Base of dataclasses whose fields are tensors with a common leading dimension."""

    def __len__(self) -> int:
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def __getitem__(self, rows: Tensor | slice | Sequence[int]) -> Self:
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        first: Tensor = getattr(self, dataclasses.fields(self)[0].name)
        return first.device

    @classmethod
    def cat(cls, parts: Sequence[Self], dim: int = 0) -> Self:
        """Joins parts along `dim`."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts], dim) for name in names})

    def to(self, device: torch.device | str) -> Self:
        """The same on another device; Lightning calls this for batches."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)})
