"""A demonstrator that sees more than those who learn from it: a simulator's state where they have a picture."""

from __future__ import annotations

from torch import Tensor

from rlft.networks.acting_through import ActingThrough
from rlft.types import Acted, Actor, Obs


class PrivilegedActor(ActingThrough):
    """Acts on what is privileged of an observation as another actor acts on states; it can do nothing but act.

    Args:
        actor: the other one, which it shares.
    """

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
