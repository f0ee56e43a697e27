"""The policy-update axis: what do we do about how good the actions were?"""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from rlft.errors import UserError, require
from rlft.types import Ability, Actor, AdvantageEstimate, Batch

ASKED: dict[Ability, str] = {  # of an actor, for sentences
    "act": "acts",
    "log_prob": "knows how likely its actions are",
    "imitation": "can imitate actions",
    "entropy": "knows its entropy",
    "clamp_exploration": "bounds its exploration (null sets no bounds)",
    "exploration_parameters": "can keep its exploration while it learns",
}


def check_target_kl(value: float | None) -> None:
    """Refuses a KL that no policy is below, or none above."""
    right = value is None or 0 <= value < math.inf
    require(right, "model.update.target_kl", value, "at least 0 and finite, or null to never stop")


class PolicyUpdate(ABC):
    """A loss for the actor. Holds no weights."""

    trains_actor: bool = True  # else a run leaves its policy as it is
    kl_stop_scope: Literal["actor", "both"] = "actor"  # who stops learning when `exceeds_target_kl` says so
    target_kl: float | None = None  # KL(old || new) in nats, of a minibatch, at which it does; never if there is none

    @property
    def needs(self) -> frozenset[Ability]:
        """What this update, as configured, asks of the actor that it trains."""
        return frozenset({"act"})

    def check_actor(self, actor: Actor) -> None:
        """Refuses an actor that cannot do what this update needs.

        Raises:
            UserError: if it cannot.
        """
        for ability in sorted(self.needs):
            if not actor.can(ability):
                raise UserError(
                    f"model.update {type(self).__name__} as configured needs an actor that {ASKED[ability]}; "
                    f"{type(actor).__name__} does not: it defines no {ability}."
                )

    def adapt(self, actor: Actor) -> Actor:
        """The actor that this update trains, made from the one a run starts with; acts the same at first."""
        return actor

    @abstractmethod
    def signal(self, estimate: AdvantageEstimate) -> tuple[Tensor, dict[str, float]]:
        """What the loss needs of the advantages, `[T, N]`, computed once per iteration over the whole batch.

        Entries outside the estimate's mask are never used. Metrics describe the iteration.
        """

    @abstractmethod
    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The actor's loss on a minibatch, and metrics to average over the iteration."""

    def project(self, actor: Actor) -> None:  # noqa: B027  most updates have no bounds
        """Puts the actor back within this update's bounds; called after every gradient step, without gradients."""

    def exceeds_target_kl(self, metrics: dict[str, Tensor]) -> bool:
        """Whether the actor has moved far enough in this iteration, judged before the minibatch's gradient step."""
        return self.target_kl is not None and bool(metrics["losses/approx_kl"] > self.target_kl)
