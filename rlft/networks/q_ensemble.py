"""Several action-value functions Q(s, a) with independent weights, computed as one batched matrix product per layer."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlft.errors import UserError, require
from rlft.networks.mlp import widths_of
from rlft.networks.moments import moments
from rlft.networks.value_heads import Head, value_head
from rlft.types import Critic, Obs

CLIPPED = 5.0  # standard deviations beyond which an observation says no more


class EnsembleLinear(nn.Module):
    """`E` linear layers side by side, each initialised as torch initialises one."""

    def __init__(self, num: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(num, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor, *, frozen: bool) -> Tensor:
        """`[E, B, inputs]` to `[E, B, outputs]`; no gradient for the weights if they are frozen."""
        weight, bias = (tensor.detach() if frozen else tensor for tensor in (self.weight, self.bias))
        if weight.shape[-1] == 1:  # a matrix product of one column takes three times as long
            return (x * weight.transpose(1, 2)).sum(-1, keepdim=True) + bias
        return torch.baddbmm(bias, x, weight)


class QEnsemble(Critic):
    """`E` functions Q(s, a): linear, layer normalisation, ReLU, again and again, and a head.

    Layer normalisation bounds what a network says of actions far from all data (Ball et al. 2023, RLPD); here it has no
    gain and bias of its own, which cost a quarter of the time: the layer before has a bias, and the one after a gain.
    Observations are standardised with moments that are set once, from the first data.

    Args:
        obs_dim: numbers per observation.
        action_dim: numbers per action; actions are within the bounds of the environment.
        num_critics: how many.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers.
        layer_norm: normalise before every ReLU.
        head: `mse` for returns of any size; `bce` for returns from 0 to 1, as probabilities; `hl_gauss` for a known
            range.
        value_range: lowest and highest return, for `hl_gauss`; with `mse` targets are clipped to it.
        num_bins: of `hl_gauss`.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        num_critics: int = 2,
        hidden_dim: int = 256,
        num_layers: int = 2,
        layer_norm: bool = True,
        head: Head = "bce",
        value_range: tuple[float, float] | None = None,
        num_bins: int = 101,
    ) -> None:
        super().__init__()
        require(num_critics >= 1, "num_critics of a critic", num_critics, "at least 1")
        self.obs_dim, self.action_dim, self.num_critics = obs_dim, action_dim, num_critics
        self.hidden_dim, self.num_layers, self.layer_norm = hidden_dim, num_layers, layer_norm
        self.head, self.value_range, self.num_bins = head, value_range, num_bins
        self.reading = value_head(head, value_range, num_bins)
        self.widths = widths_of(hidden_dim, num_layers, None)
        sizes = [obs_dim + action_dim, *self.widths]
        self.hidden = nn.ModuleList(EnsembleLinear(num_critics, *pair) for pair in pairwise(sizes))
        self.output = EnsembleLinear(num_critics, sizes[-1], self.reading.size)
        self.register_buffer("obs_mean", torch.zeros(obs_dim))
        self.register_buffer("obs_scale", torch.ones(obs_dim))

    obs_mean: Tensor  # [O]
    obs_scale: Tensor  # [O]

    def forward(self, obs: Obs) -> Tensor:
        """Refused: these are values of actions.

        Raises:
            UserError: always.
        """
        raise UserError("A QEnsemble is a value of actions, not of states; choose a critic that is one of states.")

    def outputs(self, obs: Obs, action: Tensor, *, frozen: bool = False) -> Tensor:
        """What the heads read, `[E, B, H]`, of observations `[B]` and actions `[B, A]`.

        Args:
            obs: where.
            action: what is done there.
            frozen: let gradients through to the action, and none to the weights.
        """
        x = torch.cat([self.standardised(obs.state), action], -1).expand(self.num_critics, -1, -1)
        for layer in self.hidden:
            x = layer(x, frozen=frozen)
            x = F.relu(F.layer_norm(x, x.shape[-1:]) if self.layer_norm else x)
        out: Tensor = self.output(x, frozen=frozen)
        return out

    def values(self, obs: Obs, action: Tensor) -> Tensor:
        """Q, `[E, B]`."""
        return self.reading.value(self.outputs(obs, action))

    def mean_value(self, obs: Obs, action: Tensor) -> Tensor:
        """The mean over the critics, `[...]`, of observations `[...]` and actions `[..., A]`."""
        shape = action.shape[:-1]
        flat = Obs(obs.state.reshape(-1, self.obs_dim))
        return self.values(flat, action.reshape(-1, self.action_dim)).mean(0).reshape(shape)

    def standardised(self, state: Tensor) -> Tensor:
        """Observations `[..., O]` in standard deviations from their mean, at most five."""
        return ((state - self.obs_mean) / self.obs_scale).clamp(-CLIPPED, CLIPPED)

    @torch.no_grad()
    def fit_moments(self, state: Tensor) -> None:
        """Standardises by the moments of observations `[M, O]`; what never varies keeps its scale."""
        mean, scale = moments(state)
        self.obs_mean.copy_(mean)
        self.obs_scale.copy_(scale)
