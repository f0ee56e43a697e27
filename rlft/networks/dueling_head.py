"""What becomes of features: a head of one hidden layer, and two of these as a value and advantages.

Source: Wang et al. 2016, "Dueling Network Architectures", 1511.06581, equation 9.
"""

from __future__ import annotations

from torch import Tensor, nn

from rlft.errors import require
from rlft.networks.encoders import LEAKY_GAIN, orthogonal


def head(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """From features `[..., width]` to `[..., outputs]` by a hidden layer with LeakyReLU; by none if `hidden` is 0."""
    require(hidden >= 0, "head_dim of a network", hidden, "at least 0")
    if not hidden:
        return nn.Sequential(orthogonal(nn.Linear(width, outputs), 1.0))
    first = orthogonal(nn.Linear(width, hidden), LEAKY_GAIN)
    return nn.Sequential(first, nn.LeakyReLU(), orthogonal(nn.Linear(hidden, outputs), 1.0))


def dueling(value: Tensor, advantage: Tensor) -> Tensor:
    """Q `[..., A]` = V `[..., 1]` + A `[..., A]` less its mean over the actions, so that the mean of Q is V."""
    return value + advantage - advantage.mean(-1, keepdim=True)
