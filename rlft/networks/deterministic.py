"""A policy that never explores."""

from __future__ import annotations

from torch import Tensor

from rlft.types import Acted, Actor, Obs


class DeterministicActor(Actor):
    """The mean or most likely actions of another actor, whoever asks; it can do nothing but act.

    Args:
        actor: the other one, which it shares.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor
        self.obs_dim, self.action_dim, self.noise_dim = actor.obs_dim, actor.action_dim, actor.noise_dim

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """What the other one does without exploring, which no density belongs to."""
        action = self.actor.act(obs, noise, explore=False).action
        return Acted(action=action, log_prob=action[..., :0])
