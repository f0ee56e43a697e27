"""What imitation does to exploration, which it would shrink without end: train it or not, and within which bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rlft.errors import UserError, require
from rlft.types import Ability, Actor


@dataclass(frozen=True)
class Exploration:
    """The options `train_log_std`, `log_std_min` and `log_std_max` of an update.

    Raises:
        UserError: if the lower bound is above the upper one, or one of them is not finite.
    """

    trained: bool
    low: float | None
    high: float | None = None

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        for name, bound in (("log_std_min", low), ("log_std_max", high)):
            if bound is not None:
                require(math.isfinite(bound), f"model.update.{name}", bound, "finite, or null for no bound")
        if low is not None and high is not None and not low <= high:
            raise UserError(f"model.update.log_std_min is {low}; it must not be above log_std_max, which is {high}.")

    @property
    def _bounded(self) -> bool:
        return self.trained and (self.low is not None or self.high is not None)

    @property
    def needs(self) -> frozenset[Ability]:
        """What an actor must define so that these options mean something."""
        if not self.trained:
            return frozenset({"exploration_parameters"})
        return frozenset({"clamp_exploration"} if self._bounded else ())

    def adapt(self, actor: Actor) -> Actor:
        """The same actor; it keeps its exploration from now on if that is not to be trained."""
        if not self.trained:
            for parameter in actor.exploration_parameters():
                parameter.requires_grad_(False)
        return actor

    def project(self, actor: Actor) -> None:
        """Puts exploration that is trained back within the bounds, if there are any."""
        if self._bounded:
            actor.clamp_exploration(self.low, self.high)
