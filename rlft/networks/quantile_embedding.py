"""How a network is asked for a quantile.

Source: Dabney, Ostrovski, Silver, Munos 2018, "Implicit Quantile Networks", 1806.06923, equation 4. Deviations: cosines
of 1 to n half waves, as in Dopamine, not of 0 to n - 1, of which the first is a constant; LeakyReLU.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlft.errors import require
from rlft.networks.encoders import LEAKY_GAIN, orthogonal


class QuantileEmbedding(nn.Module):
    """phi_j(tau) = LeakyReLU(sum_i w_ij cos(pi i tau) + b_j), i from 1.

    Args:
        width: of the features that it is multiplied with.
        cosines: how many.
    """

    waves: Tensor  # [cosines]

    def __init__(self, width: int, cosines: int = 64) -> None:
        super().__init__()
        require(cosines >= 1, "cosines of a network", cosines, "at least 1")
        self.register_buffer("waves", math.pi * torch.arange(1.0, cosines + 1), persistent=False)
        # A cosine has variance 1/2, where the gain is meant for 1.
        self.layer = orthogonal(nn.Linear(cosines, width), math.sqrt(2) * LEAKY_GAIN)

    def forward(self, tau: Tensor) -> Tensor:
        """Embeddings `[..., width]` of quantile levels `[...]`."""
        return F.leaky_relu(self.layer(torch.cos(tau[..., None] * self.waves)))
