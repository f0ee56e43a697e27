"""No policy update: the critic learns, the actor stays what it is."""

import torch
from torch import Tensor

from rlft.types import Actor, AdvantageEstimate, Batch
from rlft.update.base import PolicyUpdate


class CriticOnly(PolicyUpdate):
    """Leaves the actor alone, which pretrains a critic of the policy a run starts with.

    Validation losses need `OfflineDataModule` and its `validation_fraction`. The policies of the run hold the critic:
    `--model.critic_policy <run>/policies/last.safetensors` starts another run with it, or `best.safetensors` if
    `checkpoint.monitor` names a validation loss.
    """

    trains_actor = False

    def signal(self, estimate: AdvantageEstimate) -> tuple[Tensor, dict[str, float]]:
        """The advantages themselves, which nobody uses."""
        return estimate.advantage, {}

    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Nothing to learn."""
        return torch.zeros_like(batch.signal).sum(), {}
