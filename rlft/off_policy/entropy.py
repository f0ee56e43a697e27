"""Soft actor-critic: a stochastic actor that is paid for its entropy.

Source: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", 1812.05905: objectives (7) for the actor
and (18) for the temperature, whose gradient is taken by its logarithm, as Stable-Baselines3 does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rlft.errors import require
from rlft.off_policy.objective import ActorObjective, Bounds, Values
from rlft.types import Actor, Obs


class EntropyRegularised(ActorObjective):
    """Minimises alpha log pi(a|s) - preference(s, a), and alpha such that the entropy is what it should be.

    Args:
        temperature: alpha at the start.
        entropy_per_action: what the entropy should be, in nats per action dimension; -1 in the paper, -0.5 in RLPD.
        backup: whether targets count the entropy of next actions; RLPD does not on sparse tasks, and with heads of a
            bounded range it would leave that range.
    """

    needs = frozenset({"act", "log_prob"})
    explores_itself = True

    def __init__(self, temperature: float = 0.01, entropy_per_action: float = -1.0, backup: bool = False) -> None:
        super().__init__()
        require(0 < temperature < math.inf, "model.objective.temperature", temperature, "above 0 and finite")
        finite = math.isfinite(entropy_per_action)
        require(finite, "model.objective.entropy_per_action", entropy_per_action, "finite")
        self.temperature, self.entropy_per_action, self.backup = temperature, entropy_per_action, backup
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def loss(
        self, actor: Actor, start: Actor, obs: Obs, noise: Tensor, values: Values, bounds: Bounds, env_steps: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See the class."""
        acted = actor.act(obs, noise)
        log_prob = acted.joint_log_prob  # [B]
        preference = values(obs, bounds.clip(acted.action))
        alpha = self.log_temperature.exp()
        wanted = self.entropy_per_action * acted.action.shape[-1]
        policy_loss = (alpha.detach() * log_prob - preference).mean()
        temperature_loss = -self.log_temperature * (log_prob.detach() + wanted).mean()
        metrics = {
            "losses/policy_loss": policy_loss.detach(),
            "losses/entropy": -log_prob.detach().mean(),
            "charts/temperature": alpha.detach(),
        }
        return policy_loss + temperature_loss, metrics

    def target_action(self, actor: Actor, obs: Obs, noise: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
        """A sampled action, and its share of the entropy if targets count that."""
        acted = actor.act(obs, noise)
        bonus = -self.log_temperature.exp() * acted.joint_log_prob
        return bounds.clip(acted.action), bonus if self.backup else torch.zeros_like(bonus)
