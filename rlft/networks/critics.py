"""Value functions."""

import torch
from torch import Tensor

from rlft.networks.mlp import MLP, Activation, widths_of
from rlft.types import Critic, Obs


class NoCritic(Critic):
    """Stands in where an estimator needs no critic: no weights, every value 0."""

    def forward(self, obs: Obs) -> Tensor:
        """Zeros `[...]`."""
        return torch.zeros(obs.shape, device=obs.device)


class ValueCritic(Critic):
    """V(s) as a multilayer perceptron.

    Args:
        obs_dim: numbers per observation.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers.
        hidden_dims: widths of the hidden layers one by one, in place of `hidden_dim` and `num_layers`.
        activation: after every hidden layer.
    """

    def __init__(
        self,
        obs_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 3,
        hidden_dims: tuple[int, ...] | None = None,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        self.obs_dim = obs_dim
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.widths = widths_of(hidden_dim, num_layers, hidden_dims)
        self.value = MLP(obs_dim, 1, self.widths, activation)

    def forward(self, obs: Obs) -> Tensor:
        """Values `[...]` of observations `[...]`."""
        value: Tensor = self.value(obs.state)
        return value.squeeze(-1)
