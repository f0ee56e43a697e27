"""From a rollout to minibatches: every transition exactly once per epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rlft.types import AdvantageEstimate, Batch, Rollout, Transition


def flatten(rollout: Rollout, estimate: AdvantageEstimate, signal: Tensor, transition: Transition) -> Batch:
    """All steps that have an estimate, as one batch of `B <= T N`; `signal` and `transition` are `[T, N]`."""
    keep = estimate.mask  # [T, N]
    return Batch(
        obs=rollout.obs[keep],
        action=rollout.action[keep],
        log_prob=rollout.log_prob[keep],
        signal=signal[keep],
        value=estimate.value[keep],
        value_target=estimate.value_target[keep],
        transition=transition[keep],
    )


def minibatches(batch: Batch, num_minibatches: int, epochs: int, generator: torch.Generator) -> Iterator[Batch]:
    """`epochs` passes over `batch`, each newly shuffled and split into `num_minibatches` (nearly) equal parts."""
    for _ in range(epochs):
        order = torch.randperm(len(batch), generator=generator).to(batch.obs.device)
        for rows in order.tensor_split(num_minibatches):
            if len(rows):  # fewer estimates than minibatches
                yield batch[rows]
