"""What a policy sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.types.rows import TensorRows


@dataclass(frozen=True)
class Obs(TensorRows):
    """Observations by their parts; a network reads those that it understands."""

    state: Tensor  # [..., O]

    @property
    def shape(self) -> torch.Size:
        """The leading dimensions `[...]`, which all parts share."""
        return self.state.shape[:-1]
