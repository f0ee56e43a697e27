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
    privileged: Tensor = NOTHING  # [..., S], what only a demonstrator may see; [..., 0] where there is no such thing

    def __post_init__(self) -> None:
        if self.image is NOTHING:
            object.__setattr__(self, "image", self.state.new_empty((*self.shape, 0), dtype=torch.uint8))
        if self.privileged is NOTHING:
            object.__setattr__(self, "privileged", self.state.new_empty((*self.shape, 0)))

    def learnable(self) -> Obs:
        """Without what is privileged."""
        return Obs(self.state, self.image) if self.privileged.shape[-1] else self

    @property
    def shape(self) -> torch.Size:
        """The leading dimensions `[...]`, which all parts share."""
        return self.state.shape[:-1]
