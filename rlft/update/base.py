"""The policy-update axis: what do we do about how good the actions were?"""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

from rlft.types import Actor, AdvantageEstimate, Batch


class PolicyUpdate(ABC):
    """A loss for the actor. Holds no weights."""

    kl_stop_scope: Literal["actor", "both"] = "actor"  # who stops learning when `wants_to_stop` says so

    @abstractmethod
    def signal(self, estimate: AdvantageEstimate) -> Tensor:
        """What the loss needs of the advantages, `[T, N]`, computed once per iteration over the whole batch."""

    @abstractmethod
    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The actor's loss on a minibatch, and metrics to average over the iteration."""

    def wants_to_stop(self, metrics: dict[str, Tensor]) -> bool:
        """Whether the actor has moved far enough in this iteration, judged before the minibatch's gradient step."""
        return False
