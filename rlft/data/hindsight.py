"""Hindsight experience replay (Andrychowicz et al. 2017): a step is an example of every goal that was reached later.

The strategy is `future`: the goal is what one of the following steps of the same episode, the step itself included,
has achieved. Deviations. Steps count only if the episode has moved what is to be moved, or the goal would be to do
nothing. The steps of a transition all have the one goal, and end with the first of them that reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.types import EnvSpec, Experience, Goals, Rollout

ROUNDING = 1e-3  # share of steps whose success may differ: another processor rounds distances at the edge otherwise


@dataclass(frozen=True)
class Stretches:
    """Steps in a row of one episode without a bad one among them, as far as they are kept; `[S, N]` by step."""

    last: Tensor  # int64, the row of the stretch's last step
    useful: Tensor  # bool, False where nothing has moved in the stretch

    @classmethod
    def of(cls, kept: Experience, goals: Goals) -> Stretches:
        """Of all that is kept, `[S, N]`."""
        ends = kept.terminated | kept.truncated | ~kept.usable
        ends[:-1] |= ~kept.usable[1:]
        begins = torch.ones_like(ends)
        begins[1:] = ends[:-1]
        rows = torch.arange(len(kept))[:, None]
        envs = torch.arange(ends.shape[1])[None]
        first = torch.where(begins, rows, 0).cummax(0).values
        last = torch.where(ends, rows, len(kept) - 1).flip(0).cummin(0).values.flip(0)
        moved = goals.moved(goals.reached(kept.obs)[first, envs], goals.reached(kept.next_obs))
        before = moved.cumsum(0) - moved.long()  # steps of earlier rows in which something was away
        until = moved.cumsum(0)
        return cls(last, kept.usable & (until[last, envs] > before[first, envs]))

    def later(self, start: Tensor, env: Tensor, generator: torch.Generator) -> Tensor:
        """Rows `[M]`, each of a step from row `start [M]` on in its stretch; `env [M]` are the environments."""
        left = self.last[start, env] - start
        return start + (torch.rand(len(start), generator=generator) * (left + 1)).long().minimum(left)


def check_goals(spec: EnvSpec, reward_mode: str | None, share: float) -> None:
    """Refuses hindsight where rewards under another goal cannot be computed.

    Raises:
        UserError: if the task has no goals in its observations, or the reward is not the sparse one.
    """
    if spec.goals is None:
        raise UserError(
            f"data.her is {share}, but {spec.task} as configured has no goals in its observations from which success "
            "follows; set data.her to 0, or take PickCube-v1, PickCube-v2, PushCube-v1 or PullCube-v1."
        )
    if spec.image is not None:
        raise UserError(
            f"data.her is {share}, but pictures of {spec.task} show the goal as it was; set data.her to 0, or take "
            "observations without pictures."
        )
    if reward_mode not in (None, "sparse"):
        raise UserError(
            f"data.her is {share}, which computes rewards under other goals, but of the sparse reward alone, and "
            f"data.env.reward_mode is {reward_mode}; set that to sparse, or data.her to 0."
        )


def check_successes(spec: EnvSpec, rollout: Rollout, usable: Tensor) -> None:
    """Compares what the task says of its goals with what happened, `[T, N]`.

    Raises:
        UserError: if it is wrong.
    """
    assert spec.goals is not None  # `check_goals` refuses it
    differs = (spec.goals.success(rollout.next_obs) != rollout.success) & usable
    if differs.sum() > ROUNDING * usable.sum():
        raise UserError(
            f"data.her needs success to follow from observations, but for {int(differs.sum())} of "
            f"{int(usable.sum())} steps {spec.task} had another one than its goals say; set data.her to 0."
        )
