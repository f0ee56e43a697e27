"""A policy that never explores."""

from __future__ import annotations

from torch import Tensor

from rlft.networks.acting_through import ActingThrough
from rlft.types import Acted, Obs


class DeterministicActor(ActingThrough):
    """The mean or most likely actions of another actor, whoever asks; it can do nothing but act.

    Args:
        actor: the other one, which it shares.
    """

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """What the other one does without exploring, which no density belongs to."""
        action = self.actor.act(obs, noise, explore=False).action
        return Acted(action=action, log_prob=action[..., :0])
