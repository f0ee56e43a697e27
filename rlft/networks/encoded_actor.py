"""A Gaussian policy of pictures and numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlft.errors import require
from rlft.networks.actors import DiagonalGaussianActor
from rlft.networks.dueling_head import head
from rlft.networks.encoders import CONVOLUTIONS, PIXELS, Convolutions, ObsEncoder
from rlft.types import Obs


class EncodedActor(DiagonalGaussianActor):
    """A head for the mean on features like those of a `CategoricalActor`, and a free log standard deviation.

    Submodules: `encoder` with `image` and `floats`, `action_head`.

    Args:
        obs_dim: numbers per observation.
        action_dim: numbers per action.
        image: channels, height and width of the pictures to look at; `null` looks at none.
        convolutions: filters, side of the kernel and stride of every layer of `encoder.image`.
        pixels: what is subtracted from pixels of 0 to 255, and what they are then divided by.
        float_dim: width of the two layers of `encoder.floats`; 0 looks at no numbers.
        head_dim: width of the hidden layer of `action_head`; 0 for none.
        init_log_std: initial log standard deviation of every action dimension.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        image: tuple[int, int, int] | None = None,
        convolutions: Convolutions = CONVOLUTIONS,
        pixels: tuple[float, float] = PIXELS,
        float_dim: int = 256,
        head_dim: int = 512,
        init_log_std: float = -0.5,
    ) -> None:
        require(math.isfinite(init_log_std), "init_log_std of an actor", init_log_std, "finite")
        super().__init__(obs_dim, torch.full((action_dim,), init_log_std))
        self.image, self.convolutions, self.pixels = image, convolutions, pixels
        self.float_dim, self.head_dim, self.init_log_std = float_dim, head_dim, init_log_std
        self.encoder = ObsEncoder(obs_dim, image, convolutions, pixels, float_dim)
        self.action_head = head(self.encoder.width, head_dim, action_dim)
        with torch.no_grad():
            next(self.action_head[-1].parameters()).mul_(0.01)  # at first every mean is about 0

    def features(self, obs: Obs) -> Tensor:
        """What the head gets, `[..., F]`."""
        features: Tensor = self.encoder(obs)
        return features

    def forward(self, obs: Obs) -> Tensor:
        """The mean action `[..., A]`."""
        mean: Tensor = self.action_head(self.features(obs))
        return mean
