"""What the updates that imitate have in common: whether exploration is trained, and within which bounds."""

import math

from rlft.errors import UserError, require
from rlft.types import Ability, Actor


def exploration_needs(train: bool, low: float | None, high: float | None = None) -> frozenset[Ability]:
    """What an actor must be able to do so that these options mean something."""
    held: frozenset[Ability] = frozenset() if train else frozenset({"exploration_parameters"})
    bounded = train and (low is not None or high is not None)
    return held | ({"clamp_exploration"} if bounded else frozenset())


def hold_exploration(actor: Actor) -> None:
    """From now on the actor keeps its exploration: gradients do not reach it."""
    for parameter in actor.exploration_parameters():
        parameter.requires_grad_(False)


def check_bounds(low: float | None, high: float | None = None) -> None:
    """Refuses bounds of the log standard deviation that exclude every value.

    Raises:
        UserError: if the lower bound is above the upper one, or one of them is not finite.
    """
    for name, bound in (("log_std_min", low), ("log_std_max", high)):
        if bound is not None:
            require(math.isfinite(bound), f"model.update.{name}", bound, "finite, or null for no bound")
    if low is not None and high is not None and not low <= high:
        raise UserError(f"model.update.log_std_min is {low}; it must not be above log_std_max, which is {high}.")
