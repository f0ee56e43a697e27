"""Policies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlft.errors import require
from rlft.networks.distributions import DiagonalGaussian
from rlft.networks.mlp import MLP, Activation, widths_of
from rlft.types import Acted, Actor, Obs


class DiagonalGaussianActor(Actor):
    """What Gaussian policies share: a mean, which `forward` computes, and a free log standard deviation per dimension.

    Args:
        obs_dim: numbers per observation.
        log_std: at the start, `[A]`.
    """

    def __init__(self, obs_dim: int, log_std: Tensor) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.action_dim = self.noise_dim = len(log_std)
        self.log_std = nn.Parameter(log_std)

    def forward(self, obs: Obs) -> Tensor:
        """The mean action `[..., A]` of observations `[...]`."""
        raise NotImplementedError

    def distribution(self, obs: Obs) -> DiagonalGaussian:
        """Of the actions it takes."""
        return DiagonalGaussian(self(obs), self.log_std)

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The mean, plus its standard deviation times the noise if it explores."""
        distribution = self.distribution(obs)
        if not explore:
            mode = distribution.mode()
            return Acted(mode, mode[..., :0])
        action = distribution.sample(noise)
        return Acted(action, distribution.log_prob(action)[..., None])

    def log_prob(self, obs: Obs, action: Tensor) -> Tensor:
        """Log density `[...]` of unclipped actions `[..., A]`."""
        return self.distribution(obs).log_prob(action)

    def entropy(self, obs: Obs) -> Tensor:
        """Nats, a scalar: it is the same everywhere."""
        return DiagonalGaussian(self.log_std, self.log_std).entropy()  # of any mean

    def exploration_parameters(self) -> list[nn.Parameter]:
        """The log standard deviation."""
        return [self.log_std]

    def set_exploration(self, level: float) -> None:
        """Gives every action dimension this log standard deviation."""
        self.log_std.data.fill_(level)

    def clamp_exploration(self, low: float | None, high: float | None) -> None:
        """Puts the log standard deviation back within its bounds."""
        clamp_log_std(self.log_std, low, high)


class GaussianActor(DiagonalGaussianActor):
    """Gaussian policy with a network for the mean and one free log standard deviation per action dimension.

    The network is an `MLP` in two named parts, so that they can be pretrained, transferred and frozen apart: the
    `encoder` is all hidden layers but the last, the `action_head` the last one and the output. A single hidden layer
    belongs to the encoder.

    Args:
        obs_dim: numbers per observation.
        action_dim: numbers per action.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers.
        init_log_std: initial log standard deviation of every action dimension.
        hidden_dims: widths of the hidden layers one by one, in place of `hidden_dim` and `num_layers`.
        activation: after every hidden layer.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 3,
        init_log_std: float = -0.5,
        hidden_dims: tuple[int, ...] | None = None,
        activation: Activation = "tanh",
    ) -> None:
        require(math.isfinite(init_log_std), "init_log_std of an actor", init_log_std, "finite")
        widths = widths_of(hidden_dim, num_layers, hidden_dims)
        super().__init__(obs_dim, torch.full((action_dim,), init_log_std))
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.init_log_std = init_log_std
        self.hidden_dims = hidden_dims
        self.activation = activation
        layers = list(MLP(obs_dim, action_dim, widths, activation, output_gain=0.01 * math.sqrt(2)))
        self.encoder = nn.Sequential(*layers[: encoder_length(len(widths))])
        self.action_head = nn.Sequential(*layers[encoder_length(len(widths)) :])

    def features(self, obs: Obs) -> Tensor:
        """What the head gets, `[..., F]`."""
        features: Tensor = self.encoder(obs.state)
        return features

    def forward(self, obs: Obs) -> Tensor:
        """The mean action `[..., A]`."""
        mean: Tensor = self.action_head(self.features(obs))
        return mean


def encoder_length(num_layers: int) -> int:
    """How many modules of an `MLP` with so many hidden layers, each with its activation, are the encoder."""
    return 2 * max(1, num_layers - 1)


def place_in_parts(place: int, num_layers: int) -> str:
    """What module `place` of an `MLP` with so many hidden layers is called in a `GaussianActor`: `action_head.2`."""
    in_encoder = encoder_length(num_layers)
    return f"encoder.{place}" if place < in_encoder else f"action_head.{place - in_encoder}"


def clamp_log_std(log_std: nn.Parameter, low: float | None, high: float | None) -> None:
    """Puts a log standard deviation that is being trained back within its bounds, in place."""
    if log_std.requires_grad and (low is not None or high is not None):  # what is frozen stays bit-identical
        log_std.data.clamp_(low, high)
