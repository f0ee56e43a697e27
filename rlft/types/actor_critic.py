"""Networks as everybody sees them: what a policy can be asked, and how a file says what to build."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlft.types.observation import Obs
from rlft.types.rows import TensorRows

Ability = Literal[
    "act", "log_prob", "imitation", "entropy", "set_exploration", "clamp_exploration", "exploration_parameters"
]


class Network(nn.Module):
    """A network that files can build again: it keeps every constructor argument as an attribute of the same name."""

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments: `None`, booleans, numbers, texts, lists or tuples of these, other networks.

        A network that does not keep its arguments says here what to build it with.

        Raises:
            AttributeError: if it has not kept one of them.
        """
        if type(self).__init__ is nn.Module.__init__:
            return {}
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


@dataclass(frozen=True)
class Acted(TensorRows):
    """Decisions of an actor, one per observation."""

    action: Tensor  # [..., A], unclipped
    log_prob: Tensor  # [..., K], one per random choice; K = 0: the density is not known, or there is none

    @property
    def joint_log_prob(self) -> Tensor:
        """Of everything a decision chose, `[...]`; 0 if it is not known."""
        return self.log_prob.sum(-1)

    @property
    def log_prob_known(self) -> Tensor:
        """Whether it is, `[...]` bool: of all decisions or of none."""
        return torch.full(self.log_prob.shape[:-1], self.log_prob.shape[-1] > 0, device=self.log_prob.device)


class Actor(Network):
    """A policy: it is asked to act, and what it thinks of actions; nobody else knows its distribution.

    An actor defines `act` and as much of the rest as it can; `can` tells what that is, and whoever needs more refuses
    it in a sentence. Its exploration is a single level in units of its own, for Gaussians the log standard deviation.
    """

    obs_dim: int
    action_dim: int
    choices: int | None = None  # its actions are numbers below this, int64 [..., 1]; `None` for vectors
    image: tuple[int, int, int] | None = None  # channels, height and width of the pictures that it looks at, if any
    noise_dim: int  # Z: standard normal numbers per decision; whoever asks for one addresses them

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """Decides; differentiable in the weights, and a function of nothing but the arguments and these.

        Args:
            obs: observations `[...]`.
            noise: standard normal numbers `[..., Z]`, all the randomness there is.
            explore: sample; else the mean or most likely action, which does not depend on the noise.
        """
        raise NotImplementedError

    def log_prob(self, obs: Obs, action: Tensor) -> Tensor:
        """Log density or log probability `[...]` of unclipped actions `[..., A]`."""
        raise NotImplementedError

    def imitation(self, obs: Obs, action: Tensor) -> Tensor:
        """What to minimise for the actor to act like this, `[...]`; -log pi unless it knows better."""
        return -self.log_prob(obs, action)

    def entropy(self, obs: Obs) -> Tensor:
        """Nats, `[...]`; a scalar if it is the same everywhere."""
        raise NotImplementedError

    def exploration_parameters(self) -> list[nn.Parameter]:
        """The weights that say how much it explores, and nothing else; those that take no gradient are not trained."""
        return []

    def set_exploration(self, level: float) -> None:
        """Explores so much from now on, in every action dimension."""
        raise NotImplementedError

    def clamp_exploration(self, low: float | None, high: float | None) -> None:
        """Puts levels that are being trained back within these bounds, in place; `None` is no bound."""
        raise NotImplementedError

    def can(self, ability: Ability) -> bool:
        """Whether this actor defines a method; one with `log_prob` can also imitate."""
        defines = getattr(type(self), ability) is not getattr(Actor, ability)
        return defines or (ability == "imitation" and self.can("log_prob"))

    @property
    def imitates_by_likelihood(self) -> bool:
        """Whether `imitation` is -log pi, so that one pass through the network tells both."""
        return type(self).imitation is Actor.imitation

    def mode(self, obs: Obs) -> Tensor:
        """The action without exploration, `[..., A]`."""
        return self.act(obs, obs.state.new_zeros(*obs.shape, self.noise_dim), explore=False).action

    @property
    def device(self) -> torch.device:
        """Where it computes: where its weights are, the CPU if it has none."""
        return next((tensor.device for tensor in chain(self.parameters(), self.buffers())), torch.device("cpu"))


class Critic(Network):
    """A state-value function."""

    obs_dim: int
    image: tuple[int, int, int] | None = None  # as of an `Actor`
    widths: tuple[int, ...] = ()  # of its hidden layers, where that has a meaning

    def forward(self, obs: Obs) -> Tensor:
        """Values `[...]` of observations `[...]`."""
        raise NotImplementedError
