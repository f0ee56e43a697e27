"""What a policy sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.types.rows import NOTHING, TensorRows


@dataclass(frozen=True)
class Obs(TensorRows):
    """Observations by their parts; a network reads those that it understands."""

    state: Tensor  # [..., O]
    image: Tensor = NOTHING  # [..., C, H, W] uint8; [..., 0] where there are no pictures

    def __post_init__(self) -> None:
        if self.image is NOTHING:
            object.__setattr__(self, "image", self.state.new_empty((*self.shape, 0), dtype=torch.uint8))

    @property
    def shape(self) -> torch.Size:
        """The leading dimensions `[...]`, which all parts share."""
        return self.state.shape[:-1]
