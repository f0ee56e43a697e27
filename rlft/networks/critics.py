"""Value functions."""

import torch
from torch import Tensor

from rlft.networks.mlp import MLP
from rlft.types import Critic


class NoCritic(Critic):
    """Stands in where an estimator needs no critic: no weights, every value 0."""

    def forward(self, obs: Tensor) -> Tensor:
        """Zeros `[...]`."""
        return torch.zeros(obs.shape[:-1], device=obs.device)


class ValueCritic(Critic):
    """V(s) as a multilayer perceptron.

    Args:
        obs_dim: numbers per observation.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers.
    """

    def __init__(self, obs_dim: int, hidden_dim: int = 256, num_layers: int = 3) -> None:
        super().__init__()
        self.value = MLP(obs_dim, 1, hidden_dim, num_layers)
        self.num_layers, self.hidden_dim = num_layers, hidden_dim

    def forward(self, obs: Tensor) -> Tensor:
        """Values `[...]` of observations `[..., O]`."""
        value: Tensor = self.value(obs)
        return value.squeeze(-1)
