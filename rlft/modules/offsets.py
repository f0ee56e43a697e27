"""Actions some steps from now: which of them to clone, how much each counts, and where they exist."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.types import Rollout


def checked_weights(offsets: Sequence[int], weights: Sequence[float] | None) -> list[float]:
    """The weights of `K` offsets, scaled to a sum of 1; equal ones if there are none.

    Raises:
        UserError: if 0 is not among the offsets or one is there twice, or if these are no weights for them.
    """
    if 0 not in offsets or len(set(offsets)) < len(offsets):
        raise UserError(f"model.offsets is {list(offsets)}; it must have 0, the actor's own action, and none twice.")
    weights = [1.0] * len(offsets) if weights is None else weights
    total = sum(weights)
    if len(weights) != len(offsets) or not all(weight >= 0 for weight in weights) or not 0 < total < math.inf:
        wanted = f"one number for each of the offsets {list(offsets)}, none below 0 and not all of them 0"
        raise UserError(f"model.offset_weights is {list(weights)}; it must be {wanted}.")
    return [weight / total for weight in weights]


def actions_at(rollout: Rollout, offsets: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The actions that many steps from each step, and whether they are in the same episode and in the data at all.

    Returns:
        Actions `[T, N, K, A]`, of no meaning where they are not known, and `[T, N, K]` bool.

    Raises:
        UserError: if no episode is long enough for an offset.
    """
    done = rollout.done.long()
    episode = done.cumsum(0) - done  # [T, N], how many ended before in this environment
    now = torch.arange(len(done), device=done.device)[:, None]  # [T, 1]
    wanted = now + torch.tensor(offsets, device=done.device)  # [T, K]
    at = wanted.clamp(0, len(done) - 1)
    known = (wanted == at)[:, None] & (episode[at].transpose(1, 2) == episode[..., None])  # [T, N, K]
    for offset, exists in zip(offsets, known.any(0).any(0).tolist(), strict=True):
        if not exists:
            raise UserError(f"model.offsets has {offset}, but no episode of the data has so many steps.")
    return rollout.action[at].transpose(1, 2), known
