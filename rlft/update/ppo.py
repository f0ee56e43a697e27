"""Proximal policy optimisation.

Schulman, Wolski, Dhariwal, Radford, Klimov 2017, "Proximal Policy Optimization Algorithms", equation 7, with the
details of CleanRL's and ManiSkill's implementations: advantages normalised per minibatch, KL estimated by k3 of
Schulman's 2020 note "Approximating KL divergence" and checked before each gradient step.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from rlft.errors import require
from rlft.networks.distributions import approx_kl
from rlft.types import Ability, Actor, AdvantageEstimate, Batch
from rlft.update.base import PolicyUpdate, check_target_kl


class PPO(PolicyUpdate):
    """Clipped surrogate objective.

    Args:
        clip_coef: the probability ratio may leave 1 by this much before its gradient is cut.
        ent_coef: weight of the entropy bonus.
        norm_adv: normalise the advantages of every minibatch to mean 0 and standard deviation 1.
        target_kl: stop updating the actor for this iteration once KL(old || new) exceeds this many nats; `null` never
            stops.
        kl_stop_scope: `actor`: the critic goes on learning after such a stop. `both`: the iteration ends, as in
            ManiSkill's and CleanRL's PPO, which starves the critic when many epochs meet a tight `target_kl`.
    """

    def __init__(
        self,
        clip_coef: float = 0.2,
        ent_coef: float = 0.0,
        norm_adv: bool = True,
        target_kl: float | None = 0.1,
        kl_stop_scope: Literal["actor", "both"] = "actor",
    ) -> None:
        require(0 < clip_coef < math.inf, "model.update.clip_coef", clip_coef, "above 0 and finite")
        require(0 <= ent_coef < math.inf, "model.update.ent_coef", ent_coef, "at least 0 and finite")
        check_target_kl(target_kl)
        self.kl_stop_scope = kl_stop_scope
        self.clip_coef = clip_coef
        self.ent_coef = ent_coef
        self.norm_adv = norm_adv
        self.target_kl = target_kl

    @property
    def needs(self) -> frozenset[Ability]:
        """Entropy only if there is a bonus for it."""
        needs: set[Ability] = {"act", "log_prob", "entropy"} if self.ent_coef else {"act", "log_prob"}
        return frozenset(needs)

    def signal(self, estimate: AdvantageEstimate) -> tuple[Tensor, dict[str, float]]:
        """The advantages as they are; PPO normalises per minibatch."""
        return estimate.advantage, {}

    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of max(-A r, -A clip(r, 1 - eps, 1 + eps)) - c H, with r = pi_new / pi_old."""
        log_ratio = actor.log_prob(batch.obs, batch.action) - batch.log_prob  # [B]
        ratio = log_ratio.exp()
        advantage = batch.signal
        if self.norm_adv:
            advantage = normalize(advantage)
        clipped_ratio = ratio.clamp(1 - self.clip_coef, 1 + self.clip_coef)
        policy_loss = torch.maximum(-advantage * ratio, -advantage * clipped_ratio).mean()
        loss, entropy = policy_loss, {}
        if actor.can("entropy"):
            bonus = actor.entropy(batch.obs).mean()
            loss, entropy = policy_loss - self.ent_coef * bonus, {"losses/entropy": bonus.detach()}
        with torch.no_grad():
            metrics = {
                "losses/policy_loss": policy_loss.detach(),
                **entropy,
                "losses/approx_kl": approx_kl(log_ratio),
                "losses/clipfrac": ((ratio - 1).abs() > self.clip_coef).float().mean(),
            }
        return loss, metrics


def normalize(advantage: Tensor) -> Tensor:
    """Mean 0, standard deviation 1 (ddof 1); a constant or a single element becomes 0."""
    if len(advantage) < 2:
        return torch.zeros_like(advantage)
    varies = (advantage != advantage[0]).any()  # the mean of equal numbers is rounded, by up to 1e-8 and more
    return varies * (advantage - advantage.mean()) / (advantage.std() + 1e-8)
