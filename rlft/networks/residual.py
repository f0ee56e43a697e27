"""A policy that corrects another one a little.

Source: Yuan et al. 2024, "Policy Decorator: Model-Agnostic Online Refinement for Large Policy Model", 2412.13630,
equation 1 and section 4.2. Deviations: the residual begins at 0, its mode exactly and its standard deviation at e^-1.5
of the bounds, instead of near 0 with one of e^-9; its density is that of the action, not of the residual.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rlft.errors import require
from rlft.networks.acting_through import ActingThrough
from rlft.networks.action_values import frozen_copy
from rlft.networks.descriptions import describe
from rlft.networks.mlp import Activation
from rlft.networks.squashed import SquashedGaussianActor
from rlft.types import Acted, Actor, Obs


class ResidualActor(Actor):
    """a = mode of the base at s + scale tanh(u), u normal with a mean and a standard deviation that a network learns.

    The base is copied and never changes; at first the mode is its mode, bit for bit. With a scale of 0 it stays that,
    and there is no density.

    Args:
        base: any actor.
        scale: how far an action may be from the base's, in every dimension.
        hidden_dim: width of the residual's hidden layers.
        num_layers: number of its hidden layers.
        activation: after every hidden layer.
    """

    def __init__(
        self,
        base: Actor,
        scale: float = 0.2,
        hidden_dim: int = 256,
        num_layers: int = 3,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        require(0 <= scale < math.inf, "scale of a residual", scale, "at least 0 and finite")
        self.obs_dim = base.obs_dim
        self.action_dim = self.noise_dim = base.action_dim
        self.scale, self.hidden_dim, self.num_layers, self.activation = scale, hidden_dim, num_layers, activation
        self._given = describe(base)
        self.base = frozen_copy(base)
        self.residual = SquashedGaussianActor(self.obs_dim, self.action_dim, hidden_dim, num_layers, activation)
        self.residual.begin_at_zero()

    def arguments(self) -> dict[str, Any]:
        """An actor like the base, and what else it was built with."""
        names = ("scale", "hidden_dim", "num_layers", "activation")
        return {"base": self._given, **{name: getattr(self, name) for name in names}}

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The base's mode and the scaled residual, sampled if it explores."""
        acted, begun = self.residual.act(obs, noise, explore=explore), self.base.mode(obs)
        action = begun + self.scale * acted.action
        if not self.scale:
            return Acted(action, action[..., :0])
        return Acted(action, acted.log_prob - self._log_volume)

    def log_prob(self, obs: Obs, action: Tensor) -> Tensor:
        """Log density `[...]` of actions within `scale` of the base's."""
        require(self.scale > 0, "scale of a residual", self.scale, "above 0 for its actions to have a density")
        residual = (action - self.base.mode(obs)) / self.scale
        return self.residual.log_prob(obs, residual) - self._log_volume

    @property
    def _log_volume(self) -> float:
        """Of the scaled residuals against the others, whose density is that much higher."""
        return self.action_dim * math.log(self.scale)


class Gradual(ActingThrough):
    """Corrects the base in a share of the steps only, at random: their progressive exploration.

    One more number of the noise decides, so that it is addressed as all noise is. The mode is always corrected.

    Args:
        actor: corrects its base; shares its weights.
        share: probability that it does, per step.
    """

    actor: ResidualActor

    def __init__(self, actor: ResidualActor, share: float) -> None:
        super().__init__(actor)
        self.share = share
        self.noise_dim = actor.noise_dim + 1

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The density, a mixture with an atom at the base's action, is not known."""
        acted = self.actor.act(obs, noise[..., :-1], explore=explore)
        corrects = torch.special.ndtr(noise[..., -1:]) < self.share
        action = torch.where(corrects, acted.action, self.actor.base.mode(obs)) if explore else acted.action
        return Acted(action, action[..., :0])
