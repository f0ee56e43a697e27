"""An actor that explores around the best choice of another one."""

from __future__ import annotations

import torch
from torch import Tensor

from rlft.networks.acting_through import ActingThrough
from rlft.networks.quantile_actor import QuantileActor
from rlft.types import Acted, Obs


class EpsilonGreedy(ActingThrough):
    """Any choice now and then, the best one of noisy values now and then, else the best one.

    Args:
        actor: whose values these are; shares its weights.
        epsilon: probability of a choice drawn uniformly.
        noisy: probability, of the other decisions, that the values get noise.
        noise: its standard deviation, in units of the values.
    """

    actor: QuantileActor
    choices: int

    def __init__(self, actor: QuantileActor, epsilon: float, noisy: float, noise: float) -> None:
        super().__init__(actor)
        self.epsilon, self.noisy, self.noise = epsilon, noisy, noise
        self.noise_dim = 2 + self.choices  # how to decide, which choice, noise of the values

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The density is not known."""
        values = self.actor.values(obs)
        greedy = values.argmax(-1, keepdim=True)
        if not explore:
            return Acted(greedy, values[..., :0])
        how, which = torch.special.ndtr(noise[..., :2].double()).split(1, -1)  # [..., 1] each, uniform
        noisy = (values + self.noise * noise[..., 2:]).argmax(-1, keepdim=True)
        drawn = (which * self.choices).long().clamp(max=self.choices - 1)
        action = torch.where(how < self.epsilon + (1 - self.epsilon) * self.noisy, noisy, greedy)
        return Acted(torch.where(how < self.epsilon, drawn, action), values[..., :0])
