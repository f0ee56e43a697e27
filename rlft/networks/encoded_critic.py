"""V(s) of pictures and numbers."""

from __future__ import annotations

from torch import Tensor

from rlft.networks.dueling_head import head
from rlft.networks.encoders import CONVOLUTIONS, PIXELS, Convolutions, ObsEncoder
from rlft.types import Critic, Obs


class EncodedCritic(Critic):
    """A head on features like those of a `CategoricalActor`, with weights of its own.

    Args:
        obs_dim: numbers per observation.
        image: channels, height and width of the pictures to look at; `null` looks at none.
        convolutions: filters, side of the kernel and stride of every layer of `encoder.image`.
        pixels: what is subtracted from pixels of 0 to 255, and what they are then divided by.
        float_dim: width of the two layers of `encoder.floats`; 0 looks at no numbers.
        head_dim: width of the hidden layer of `value`; 0 for none.
    """

    def __init__(
        self,
        obs_dim: int,
        image: tuple[int, int, int] | None = None,
        convolutions: Convolutions = CONVOLUTIONS,
        pixels: tuple[float, float] = PIXELS,
        float_dim: int = 256,
        head_dim: int = 512,
    ) -> None:
        super().__init__()
        self.obs_dim, self.image, self.convolutions, self.pixels = obs_dim, image, convolutions, pixels
        self.float_dim, self.head_dim = float_dim, head_dim
        self.encoder = ObsEncoder(obs_dim, image, convolutions, pixels, float_dim)
        self.value = head(self.encoder.width, head_dim, 1)

    def forward(self, obs: Obs) -> Tensor:
        """Values `[...]` of observations `[...]`."""
        value: Tensor = self.value(self.encoder(obs))
        return value.squeeze(-1)
