"""The policy-update axis: what do we do about how good the actions were?"""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from rlft.errors import require
from rlft.types import Actor, AdvantageEstimate, Batch


def check_target_kl(value: float | None) -> None:
    """Refuses a KL that no policy is below, or none above."""
    right = value is None or 0 <= value < math.inf
    require(right, "model.update.target_kl", value, "at least 0 and finite, or null to never stop")


class PolicyUpdate(ABC):
    """A loss for the actor. Holds no weights."""

    trains_actor: bool = True  # else a run leaves its policy as it is
    kl_stop_scope: Literal["actor", "both"] = "actor"  # who stops learning when `wants_to_stop` says so
    target_kl: float | None = None  # KL(old || new) in nats, of a minibatch, at which it does; never if there is none

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

    def wants_to_stop(self, metrics: dict[str, Tensor]) -> bool:
        """Whether the actor has moved far enough in this iteration, judged before the minibatch's gradient step."""
        return self.target_kl is not None and bool(metrics["losses/approx_kl"] > self.target_kl)
