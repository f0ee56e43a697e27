"""A Gaussian squashed to the bounds of actions: the actor of soft actor-critic."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlft.networks.mlp import MLP, Activation, widths_of
from rlft.types import Acted, Actor, Obs

LOG_STD = (-5.0, 2.0)  # what the network's tanh is stretched to


class SquashedGaussianActor(Actor):
    """a = tanh(u), u normal with a mean and a standard deviation that networks with a common trunk say.

    Source: Haarnoja et al. 2018, 1812.05905, appendix C; the log standard deviation is bounded as in CleanRL's
    `sac_continuous_action.py`. Actions are within -1 and 1, the bounds of most controllers.

    Args:
        obs_dim: numbers per observation.
        action_dim: numbers per action.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers.
        activation: after every hidden layer.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 2,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.action_dim = self.noise_dim = action_dim
        self.hidden_dim, self.num_layers, self.activation = hidden_dim, num_layers, activation
        layers = list(MLP(obs_dim, 2 * action_dim, widths_of(hidden_dim, num_layers, None), activation, 0.01))
        self.encoder = nn.Sequential(*layers[:-1])
        self.action_head = layers[-1]

    @torch.no_grad()
    def begin_at_zero(self) -> None:
        """Makes the mode 0, and the standard deviation the same, everywhere."""
        for parameter in self.action_head.parameters():
            parameter.zero_()

    def _parameters_at(self, obs: Obs) -> tuple[Tensor, Tensor]:
        mean, raw = self.action_head(self.encoder(obs.state)).chunk(2, -1)
        low, high = LOG_STD
        return mean, low + (high - low) / 2 * (torch.tanh(raw) + 1)

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """Tanh of the sample; the mode is tanh of the mean."""
        mean, log_std = self._parameters_at(obs)
        if not explore:
            return Acted(torch.tanh(mean), mean[..., :0])
        u = mean + log_std.exp() * noise
        return Acted(torch.tanh(u), _log_density(u, mean, log_std)[..., None])

    def log_prob(self, obs: Obs, action: Tensor) -> Tensor:
        """Log density `[...]` of actions within (-1, 1)."""
        mean, log_std = self._parameters_at(obs)
        return _log_density(torch.atanh(action.clamp(-1 + 1e-6, 1 - 1e-6)), mean, log_std)


def _log_density(u: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Of tanh(u), with log(1 - tanh^2 u) = 2 (log 2 - u - softplus(-2u)), which does not overflow."""
    normal = -((u - mean) ** 2) / (2 * (2 * log_std).exp()) - log_std - math.log(2 * math.pi) / 2
    return (normal - 2 * (math.log(2) - u - F.softplus(-2 * u))).sum(-1)
