"""An actor that explores around another one's mode."""

from __future__ import annotations

from torch import Tensor

from rlft.networks.acting_through import ActingThrough
from rlft.types import Acted, Actor, Obs


class NoisyMode(ActingThrough):
    """The mode of an actor plus the noise as it comes: whoever makes the noise decides how much that is.

    Args:
        actor: whose mode it is; shares its weights.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor)
        self.noise_dim = actor.action_dim

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The density is not known: noise of different scales is mixed."""
        mode = self.actor.mode(obs)
        return Acted(mode + noise if explore else mode, mode[..., :0])
