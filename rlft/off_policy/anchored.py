"""A pretrained actor climbs Q deterministically, held near the policy that it was at the start.

The gradient is that of Silver et al. 2014 (deterministic policy gradients); the noise in it and in the targets is that
of Fujimoto et al. 2018 (TD3's target policy smoothing); the anchor is the behaviour cloning term of TD3+BC (Fujimoto &
Gu 2021), with the start policy's actions in place of those of the data.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rlft.errors import require
from rlft.off_policy.objective import ActorObjective, Bounds, Values
from rlft.types import Actor, Obs


class Anchored(ActorObjective):
    """Minimises -preference(s, clip(mu(s) + smoothing eps)) + anchor |mu(s) - mu_start(s)|^2.

    The preference is what the critics' head has an actor climb: the value, or the logit of a probability.

    Args:
        anchor: weight of the squared distance of the mean actions, summed over action dimensions, at the start.
        final_anchor: the same after `anchor_steps`, and from then on; in between it falls linearly.
        anchor_steps: env steps until the anchor is `final_anchor`.
        smoothing: standard deviation of the noise in the actions whose values are asked for. Where the mode has to be
            precise, much noise hides that it is not: a policy that rests just outside of its goal is worth as much as
            one within it, if noise takes it there.
    """

    def __init__(
        self, anchor: float = 1.0, final_anchor: float = 0.6, anchor_steps: int = 30_000, smoothing: float = 0.01
    ) -> None:
        super().__init__()
        for name, value in (("anchor", anchor), ("final_anchor", final_anchor), ("smoothing", smoothing)):
            require(0 <= value < float("inf"), f"model.objective.{name}", value, "at least 0 and finite")
        require(anchor_steps >= 1, "model.objective.anchor_steps", anchor_steps, "at least 1")
        self.anchor, self.final_anchor, self.anchor_steps = anchor, final_anchor, anchor_steps
        self.smoothing = smoothing

    def weight(self, env_steps: int) -> float:
        """Of the anchor."""
        return self.anchor + (self.final_anchor - self.anchor) * min(1.0, env_steps / self.anchor_steps)

    def loss(
        self, actor: Actor, start: Actor, obs: Obs, noise: Tensor, values: Values, bounds: Bounds, env_steps: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See the class."""
        mean = actor.mode(obs)
        with torch.no_grad():
            begun = start.mode(obs)
        distance = (mean - begun).square().sum(-1)  # [B]
        action = bounds.clip(mean + self.smoothing * noise[..., : mean.shape[-1]])
        preference = values(obs, action)  # [B]
        loss = (self.weight(env_steps) * distance - preference).mean()
        with torch.no_grad():
            metrics = {
                "losses/policy_loss": loss.detach(),
                "charts/distance_to_start": distance.mean().sqrt(),
                "charts/clipped_actions": ((mean < bounds.low) | (mean > bounds.high)).float().mean(),
            }
        return loss, metrics

    def target_action(self, actor: Actor, obs: Obs, noise: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
        """The mean action with noise, within the bounds."""
        mean = actor.mode(obs)
        action = bounds.clip(mean + self.smoothing * noise[..., : mean.shape[-1]])
        return action, action.new_zeros(len(action))
