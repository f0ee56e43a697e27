"""What all objectives of an off-policy actor share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlft.types import Ability, Actor, Obs

Values = Callable[[Obs, Tensor], Tensor]  # what the actor climbs, [B], of observations [B] and actions [B, A]


@dataclass(frozen=True)
class Bounds:
    """Of the actions of an environment, `[A]` each."""

    low: Tensor
    high: Tensor

    def clip(self, action: Tensor) -> Tensor:
        """The nearest action within them; a gradient passes where it leads inward, as it does within the bounds.

        Source: Hausknecht & Stone 2016, "Deep Reinforcement Learning in Parameterized Action Space", whose inverting
        gradients also shrink near a bound, which this does not.
        """
        clipped: Tensor = _InwardClip.apply(action, self.low, self.high)  # type: ignore[no-untyped-call]
        return clipped


class _InwardClip(torch.autograd.Function):
    """Clamps; minimising never moves a clamped action further out."""

    @staticmethod
    def forward(ctx, action, low, high):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN205
        ctx.save_for_backward(action <= low, action >= high)
        return torch.clamp(action, low, high)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN205
        at_low, at_high = ctx.saved_tensors
        outward = (at_low & (gradient > 0)) | (at_high & (gradient < 0))  # a step goes against the gradient
        return gradient.masked_fill(outward, 0.0), None, None


class ActorObjective(nn.Module, ABC):
    """What the actor's steps minimise, and which actions the critics' targets take for its own."""

    needs: frozenset[Ability] = frozenset({"act"})  # what it asks of an actor
    explores_itself: bool = False  # the actor's own distribution collects, not its mode with noise
    temperature: float | None = None  # at the start, of one that is paid for its entropy

    @abstractmethod
    def loss(
        self, actor: Actor, start: Actor, obs: Obs, noise: Tensor, values: Values, bounds: Bounds, env_steps: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """What to minimise, a scalar, and metrics.

        Args:
            actor: learns.
            start: the policy that it was at the start, frozen.
            obs: `[B]`.
            noise: standard normal numbers, `[B, Z]`.
            values: of actions within the bounds.
            bounds: of actions.
            env_steps: collected so far, for schedules.
        """

    @abstractmethod
    def target_action(self, actor: Actor, obs: Obs, noise: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
        """Actions `[B, A]` of the next states, and what is added to their values, `[B]`; called without gradients."""
