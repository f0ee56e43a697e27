"""Networks as everybody sees them."""

from __future__ import annotations

from torch import Tensor, nn


class Actor(nn.Module):
    """A stochastic policy with independent Gaussian action dimensions."""

    log_std: nn.Parameter  # [A]

    def forward(self, obs: Tensor) -> Tensor:
        """The mean action `[..., A]` of observations `[..., O]`."""
        raise NotImplementedError


class Critic(nn.Module):
    """A state-value function."""

    def forward(self, obs: Tensor) -> Tensor:
        """Values `[...]` of observations `[..., O]`."""
        raise NotImplementedError
