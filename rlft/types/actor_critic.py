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

    num_layers: int = 0  # hidden ones, and how wide they are; 0 where that has no meaning
    hidden_dim: int = 0

    def forward(self, obs: Tensor) -> Tensor:
        """Values `[...]` of observations `[..., O]`."""
        raise NotImplementedError
