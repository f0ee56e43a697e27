"""Action-value functions beside a state-value function, with target networks."""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlft.networks.critics import ValueCritic
from rlft.networks.descriptions import build, describe
from rlft.networks.mlp import MLP
from rlft.types import Critic, Obs

N = TypeVar("N", bound=nn.Module)


class ActionValueCritic(Critic):
    """V(s), one or several Q(s, a), and target networks that slowly follow these; as a critic it is V.

    Target weights are buffers: saved with everything else, but out of reach of optimisers and freeze schedules.

    Q takes actions as a `Rollout` stores them, unclipped: networks do not know the bounds of the environment. That an
    action beyond them does what the clipped one does is for Q to learn from the data.

    Args:
        state_value: V(s), which becomes part of this critic; each Q has hidden layers like it.
        action_dim: numbers per action.
        num_q: how many Q networks, with independent initial weights.
    """

    def __init__(self, state_value: ValueCritic, action_dim: int, num_q: int = 2) -> None:
        super().__init__()
        self.obs_dim = state_value.obs_dim
        self.widths = state_value.widths
        self.action_dim = action_dim
        self.num_q = num_q
        self.value = value = state_value.value
        input_dim = value.input_dim + action_dim
        self.q = nn.ModuleList(MLP(input_dim, 1, value.widths, value.activation) for _ in range(num_q))
        self.target_q = frozen_copy(self.q)
        self._given = describe(state_value)

    def arguments(self) -> dict[str, Any]:
        """A V like the given one, which is part of this critic under another name."""
        return {"state_value": self._given, "action_dim": self.action_dim, "num_q": self.num_q}

    def forward(self, obs: Obs) -> Tensor:
        """State values `[...]` of observations `[...]`."""
        value: Tensor = self.value(obs.state)
        return value.squeeze(-1)

    def action_values(self, obs: Obs, action: Tensor) -> Tensor:
        """What each Q network says, `[K, ...]`, of observations `[...]` and actions `[..., A]`."""
        return _evaluate(self.q, obs, action)

    @torch.no_grad()
    def target_action_value(self, obs: Obs, action: Tensor) -> Tensor:
        """The smallest of the target networks' values, `[...]`, without gradients."""
        return _evaluate(self.target_q, obs, action).amin(0)

    @torch.no_grad()
    def update_targets(self, polyak: float) -> None:
        """Moves the targets by `polyak` of the way to Q; that of a frozen weight stays bit-identical as well."""
        follow(self.target_q, self.q, polyak)

    def state_value(self) -> ValueCritic:
        """V alone; shares its weights."""
        critic = build(self._given, ValueCritic)
        critic.value = self.value
        return critic


def _evaluate(networks: nn.ModuleList, obs: Obs, action: Tensor) -> Tensor:
    x = torch.cat([obs.state, action], -1)  # [..., O + A]
    return torch.stack([network(x).squeeze(-1) for network in networks])  # [K, ...]


def follow(target: nn.Module, network: nn.Module, share: float) -> None:
    """Moves a frozen copy by a share of the way to its network, in place; where that is frozen, it stays as it is."""
    copied = dict(target.named_buffers())
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    if weights:  # an eighth of the time of a loop over the tensors
        torch._foreach_lerp_([copied[name] for name in weights], list(weights.values()), share)


def frozen_copy(network: N) -> N:
    """A copy with every parameter made a buffer of the same name: saved, but out of reach of all that learns."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return copied
