"""Distributions over actions: the maths of actors.

Siblings have the same methods: `sample` from standard normal noise, `mode`, `log_prob`, `entropy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(exp(2 log_std))): independent action dimensions."""

    mean: Tensor  # [..., A]
    log_std: Tensor  # [A], or [..., A]

    def sample(self, noise: Tensor) -> Tensor:
        """Actions `[..., A]` of standard normal noise `[..., A]`."""
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        """The mean, `[..., A]`."""
        return self.mean

    def standardized(self, action: Tensor) -> Tensor:
        """How many standard deviations actions are from the mean, `[..., A]`."""
        return (action - self.mean) * (-self.log_std).exp()

    def log_prob(self, action: Tensor) -> Tensor:
        """Log density `[...]` of unclipped actions `[..., A]`."""
        return -(0.5 * self.standardized(action) ** 2 + self.log_std + LOG_SQRT_2PI).sum(-1)

    def entropy(self) -> Tensor:
        """Nats, with the leading dimensions of `log_std`: a scalar if that is `[A]`."""
        return (self.log_std + 0.5 + LOG_SQRT_2PI).sum(-1)


@dataclass(frozen=True)
class Categorical:
    """Choices with these log probabilities."""

    log_probs: Tensor  # [..., C], normalised

    def sample(self, noise: Tensor) -> Tensor:
        """Choices `[..., 1]` int64 of standard normal noise `[..., 1]`: between which sums of shares its Phi is."""
        summed = self.log_probs.double().exp().cumsum(-1)[..., :-1]
        choice: Tensor = (summed <= torch.special.ndtr(noise.double())).sum(-1, keepdim=True)
        return choice

    def mode(self) -> Tensor:
        """The likeliest, `[..., 1]` int64."""
        return self.log_probs.argmax(-1, keepdim=True)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log probability `[...]` of choices `[..., 1]`."""
        return self.log_probs.gather(-1, action.long()).squeeze(-1)

    def entropy(self) -> Tensor:
        """Nats, `[...]`."""
        return -(self.log_probs.exp() * self.log_probs).sum(-1)


def approx_kl(log_ratio: Tensor) -> Tensor:
    """KL(old || new) in nats, a scalar, from log pi_new - log pi_old `[B]` of actions that pi_old took.

    k3 of Schulman's 2020 note "Approximating KL divergence": unbiased, and no sample is negative.
    """
    return (log_ratio.exp() - 1 - log_ratio).mean()
