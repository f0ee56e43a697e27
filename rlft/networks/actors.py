"""Policies."""

import math

import torch
from torch import Tensor, nn

from rlft.errors import require
from rlft.networks.mlp import MLP
from rlft.types import Actor

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class GaussianActor(Actor):
    """Gaussian policy with a network for the mean and one free log standard deviation per action dimension.

    The network is a tanh `MLP` in two named parts, so that they can be pretrained, transferred and frozen apart: the
    `encoder` is all hidden layers but the last, the `action_head` the last one and the output. A single hidden layer
    belongs to the encoder.

    Args:
        obs_dim: numbers per observation.
        action_dim: numbers per action.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers.
        init_log_std: initial log standard deviation of every action dimension.
    """

    def __init__(
        self, obs_dim: int, action_dim: int, hidden_dim: int = 256, num_layers: int = 3, init_log_std: float = -0.5
    ) -> None:
        super().__init__()
        require(math.isfinite(init_log_std), "init_log_std of an actor", init_log_std, "finite")
        layers = list(MLP(obs_dim, action_dim, hidden_dim, num_layers, output_gain=0.01 * math.sqrt(2)))
        self.encoder = nn.Sequential(*layers[: encoder_length(num_layers)])
        self.action_head = nn.Sequential(*layers[encoder_length(num_layers) :])
        self.log_std = nn.Parameter(torch.full((action_dim,), init_log_std))

    def forward(self, obs: Tensor) -> Tensor:
        """The mean action `[..., A]`."""
        mean: Tensor = self.action_head(self.encoder(obs))
        return mean


def encoder_length(num_layers: int) -> int:
    """How many modules of an `MLP` with so many hidden layers, each with its activation, are the encoder."""
    return 2 * max(1, num_layers - 1)


def gaussian_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log density `[...]` of the unclipped sample `action [..., A]` under N(mean, diag(exp(2 log_std)))."""
    return -(0.5 * ((action - mean) * torch.exp(-log_std)) ** 2 + log_std + LOG_SQRT_2PI).sum(-1)  # [...]


def approx_kl(log_ratio: Tensor) -> Tensor:
    """KL(old || new) in nats, a scalar, from log pi_new - log pi_old `[B]` of actions that pi_old took.

    k3 of Schulman's 2020 note "Approximating KL divergence": unbiased, and no sample is negative.
    """
    return (log_ratio.exp() - 1 - log_ratio).mean()


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy (nats) of a diagonal Gaussian, a scalar."""
    return (log_std + 0.5 + LOG_SQRT_2PI).sum()
