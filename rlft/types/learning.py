"""What is learned from: advantages, and the rows of a minibatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rlft.types.rows import TensorRows


@dataclass(frozen=True)
class AdvantageEstimate:
    """How good each action of a rollout was."""

    advantage: Tensor  # [T, N], raw: not normalised
    value: Tensor  # [T, N], the critic's value when the estimate was made
    value_target: Tensor  # [T, N]
    mask: Tensor  # [T, N] bool, False where no estimate could be made
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Transition(TensorRows):
    """Where actions led, one or several steps ahead: a temporal-difference target is reward + discount V(next_obs)."""

    reward: Tensor  # [...], discounted sum of the rewards on the way
    next_obs: Tensor  # [..., O], the true successor
    discount: Tensor  # [...], gamma^steps, 0 if the episode terminated on the way


@dataclass(frozen=True)
class Batch(TensorRows):
    """The transitions of one gradient step, `[B]`, or of a rollout, `[T, N]`."""

    obs: Tensor  # [B, O]
    action: Tensor  # [B, A], unclipped
    log_prob: Tensor  # [B], under the policy that acted
    signal: Tensor  # [B], what the policy update made of the advantages
    value: Tensor  # [B], the critic's value before this iteration's updates
    value_target: Tensor  # [B]
    transition: Transition  # [B]; without `next_obs` [B, 0] if the estimator does not ask for it


@dataclass(frozen=True)
class CloningBatch(TensorRows):
    """What was demonstrated, `[B]` steps for a gradient step, or `[T, N]` of a rollout."""

    obs: Tensor  # [B, O]
    action: Tensor  # [B, K, A], unclipped, at `K` offsets from the step; of no meaning where it is not known
    known: Tensor  # [B, K] bool, whether the episode and the data reach that far
