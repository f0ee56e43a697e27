"""What the last layer of an action-value function stands for: a value, a probability, or a distribution of values.

Cross-entropy instead of squared errors: Farebrother et al. 2024, "Stop Regressing: Training Value Functions via
Classification for Scalable Deep RL", whose HL-Gauss is `HLGauss`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rlft.errors import require

Head = Literal["mse", "bce", "hl_gauss"]


class ValueHead(ABC):
    """Reads the outputs `[..., H]` of a network as values `[...]`."""

    size: int = 1  # H
    low: float = -math.inf  # the range that values can have
    high: float = math.inf

    @abstractmethod
    def value(self, output: Tensor) -> Tensor:
        """Values `[...]`."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """What to minimise for the value to be the target, `[...]` each."""

    def preference(self, output: Tensor) -> Tensor:
        """What an actor climbs, `[...]`: rises with the value."""
        return self.value(output)


class SquaredError(ValueHead):
    """The output is the value; the loss is half the squared error.

    Args:
        low: the lowest value that can be, if it is known.
        high: the highest one.
    """

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        self.low, self.high = low, high

    def value(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output[..., 0]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """(Q - y)^2 / 2."""
        return (output[..., 0] - target) ** 2 / 2


class Probability(ValueHead):
    """The output is a logit: for returns from 0 to 1, as of a reward of 1 for success; the loss is a cross-entropy.

    A target between 0 and 1 is the probability of a coin, whose cross-entropy is smallest where the sigmoid is it. An
    actor climbs the logit, whose gradient does not vanish where success is nearly certain, or nearly impossible.
    """

    low, high = 0.0, 1.0

    def value(self, output: Tensor) -> Tensor:
        """The sigmoid of the logit."""
        return output[..., 0].sigmoid()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """-y log q - (1 - y) log(1 - q)."""
        return F.binary_cross_entropy_with_logits(output[..., 0], target, reduction="none")

    def preference(self, output: Tensor) -> Tensor:
        """The logit."""
        return output[..., 0]


class HLGauss(ValueHead):
    """Probabilities of `size` bins of equal width: the target is a Gaussian around the value, and the value the mean.

    Args:
        low: where the first bin begins.
        high: where the last bin ends.
        bins: how many.
        smoothing: standard deviation of the target in widths of a bin; 0.75 in the paper.
    """

    def __init__(self, low: float, high: float, bins: int = 101, smoothing: float = 0.75) -> None:
        require(-math.inf < low < high < math.inf, "value_range of a critic", [low, high], "two finite, rising numbers")
        require(bins >= 2, "num_bins of a critic", bins, "at least 2")
        self.size, self.low, self.high = bins, low, high
        self.edges = torch.linspace(low, high, bins + 1)  # [H + 1]
        self.deviation = smoothing * (high - low) / bins

    def value(self, output: Tensor) -> Tensor:
        """The mean of the bins' centres."""
        centres = ((self.edges[:-1] + self.edges[1:]) / 2).to(output)
        return output.softmax(-1) @ centres

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy with the share of the Gaussian in each bin, of what is within the range."""
        z = (self.edges.to(output) - target.clamp(self.low, self.high)[..., None]) / self.deviation
        below = torch.special.ndtr(z)  # [..., H + 1]
        share = below.diff(dim=-1) / (below[..., -1:] - below[..., :1])
        loss: Tensor = -(share * output.log_softmax(-1)).sum(-1)
        return loss


def value_head(head: Head, value_range: tuple[float, float] | None, num_bins: int) -> ValueHead:
    """The head of that name.

    Raises:
        UserError: if it needs a range and there is none.
    """
    if head == "mse":
        return SquaredError(*(value_range or ()))
    if head == "bce":
        return Probability()
    require(value_range is not None, "value_range of a critic", value_range, "[low, high] for head hl_gauss")
    assert value_range is not None
    return HLGauss(*value_range, bins=num_bins)
