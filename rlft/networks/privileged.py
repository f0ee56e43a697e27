"""A demonstrator that sees more than those who learn from it: a simulator's state where they have a picture."""

from __future__ import annotations

from torch import Tensor

from rlft.types import Acted, Actor, Obs


class PrivilegedActor(Actor):
    """Acts on what is privileged of an observation as another actor acts on states; it can do nothing but act.

    Args:
        actor: the other one, which it shares.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor
        self.obs_dim, self.action_dim, self.noise_dim = actor.obs_dim, actor.action_dim, actor.noise_dim
        self.choices = actor.choices

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """What the other one does."""
        return self.actor.act(Obs(state=obs.privileged), noise, explore=explore)


def demonstrating(actor: Actor, obs_dim: int, privileged_dim: int) -> Actor:
    """The actor as it plays demonstrations: on what is privileged, if that and not the observation is made for it.

    Args:
        actor: who plays.
        obs_dim: numbers of an observation's state.
        privileged_dim: numbers that only a demonstrator may see; 0 if there are none.
    """
    return PrivilegedActor(actor) if is_privileged(actor, obs_dim, privileged_dim) else actor


def is_privileged(actor: Actor, obs_dim: int, privileged_dim: int) -> bool:
    """Whether an actor is made for what is privileged, and not for the observation; arguments as of `demonstrating`."""
    return actor.image is None and actor.obs_dim == privileged_dim != obs_dim
