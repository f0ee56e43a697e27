"""What actors share that act by another one and do nothing else."""

from __future__ import annotations

from rlft.types import Actor


class ActingThrough(Actor):
    """Has the sizes of another actor, if it does not say otherwise.

    Args:
        actor: the other one, which it shares.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor
        self.obs_dim, self.action_dim, self.noise_dim = actor.obs_dim, actor.action_dim, actor.noise_dim
        self.choices = actor.choices
