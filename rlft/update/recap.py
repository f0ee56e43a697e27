"""RECAP in the sense of the founding documents: imitate the good actions, push away from the bad ones.

AWR (Peng et al. 2019, equation 9) on the actions with A > 0, plus the same loss with the opposite sign on the others.
The RECAP of Physical Intelligence's pi*0.6 is another method: `ConditionedRECAP`.

The second term alone has no minimum: a Gaussian's log pi goes to -infinity, and its gradient grows with the distance.
With the mean alone free the sum has one only for alpha < 1, at (a+ - alpha a-) / (1 - alpha) for group means a+ and a-.
So the push is bounded, see `neg_bound`; `ppo` is equation 7 of Schulman et al. 2017 for A < 0.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from rlft.errors import UserError, require
from rlft.networks.distributions import approx_kl
from rlft.types import Ability, Actor, AdvantageEstimate, Batch
from rlft.update.base import PolicyUpdate
from rlft.update.exploration import Exploration
from rlft.update.weights import check_positive, effective_sample_size, exponential, standardize, weighted_mean


class RECAP(PolicyUpdate):
    """Imitates actions with positive advantage and, `alpha` times as much, un-imitates the others.

    Either group has weights min(exp(|A| / beta), max_weight), rescaled to mean 1 within the group and minibatch, so
    the balance of the groups is `alpha` however few actions one of them has. With `norm_adv` positive means better than
    the iteration's average, and an iteration whose advantages are all equal teaches nothing.

    Args:
        alpha: weight of the negative group; 0 is AWR on the positive one.
        beta: temperature of the weights, in standard deviations of the advantages: the smaller, the greedier.
        max_weight: larger weights are cut to this.
        norm_adv: normalise the advantages to mean 0 and standard deviation 1, once per iteration over all of them.
        neg_bound: what ends the push. `margin`: an action is left alone once its log-probability has fallen by
            `margin`. `ppo`: the push is on the probability ratio, and ends at 1 - clip_coef. `kl`: a penalty
            kl_coef KL(old || new), estimated from all actions of the minibatch, which stops the mean if
            alpha < 1 + kl_coef. `none`: nothing, which diverges for alpha >= 1.
        margin: see `neg_bound`, in nats.
        clip_coef: see `neg_bound`.
        kl_coef: see `neg_bound`.
        train_log_std: also fit the standard deviation; else it keeps its values.
        log_std_min: the log standard deviation never falls below this; `null` sets no bound.
        log_std_max: nor does it rise above this; `null` sets no bound.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 0.5,
        max_weight: float = 20.0,
        norm_adv: bool = True,
        neg_bound: Literal["margin", "ppo", "kl", "none"] = "margin",
        margin: float = 2.0,
        clip_coef: float = 0.2,
        kl_coef: float = 1.0,
        train_log_std: bool = True,
        log_std_min: float | None = -3.0,
        log_std_max: float | None = 0.5,
    ) -> None:
        check_positive("beta", beta)
        check_positive("max_weight", max_weight)
        for name, value in (("alpha", alpha), ("margin", margin), ("kl_coef", kl_coef)):
            require(0 <= value < math.inf, f"model.update.{name}", value, "at least 0 and finite")
        if not 0 < clip_coef < 1:
            raise UserError(f"model.update.clip_coef is {clip_coef}; it must be between 0 and 1.")
        self.exploration = Exploration(train_log_std, log_std_min, log_std_max)
        self.alpha = alpha
        self.beta = beta
        self.max_weight = max_weight
        self.norm_adv = norm_adv
        self.neg_bound = neg_bound
        self.margin = margin
        self.clip_coef = clip_coef
        self.kl_coef = kl_coef

    @property
    def needs(self) -> frozenset[Ability]:
        """Both groups are weighed against each other in log-probabilities."""
        needs: set[Ability] = {"act", "log_prob"}
        return frozenset(needs) | self.exploration.needs

    def adapt(self, actor: Actor) -> Actor:
        """The same actor, whose standard deviation is kept if it is not to be trained."""
        return self.exploration.adapt(actor)

    def signal(self, estimate: AdvantageEstimate) -> tuple[Tensor, dict[str, float]]:
        """The weights, not yet rescaled, with a minus sign in the negative group; 0 if there is nothing to learn."""
        mask, advantage = estimate.mask, estimate.advantage
        if self.norm_adv:
            advantage = standardize(advantage, mask)
        weight = exponential(advantage.abs(), self.beta, self.max_weight)  # [T, N]
        signed = torch.where(advantage > 0, weight, -weight)
        if self.norm_adv and not advantage.any():  # all equal: neither group is better than the other
            signed = torch.zeros_like(weight)
        return signed, {
            "charts/pos_ratio": float((signed[mask] > 0).float().mean()),
            "charts/effective_sample_size": effective_sample_size(weight[mask]),
        }

    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """mean_P(-w log pi) + alpha mean_N(w f), with f = log pi bounded as `neg_bound` says."""
        log_prob = actor.log_prob(batch.obs, batch.action)  # [B]
        log_ratio = log_prob - batch.log_prob
        positive, negative = batch.signal.clamp(min=0), (-batch.signal).clamp(min=0)  # [B], weights of the groups
        positive_loss = weighted_mean(-log_prob, positive)
        negative_loss = weighted_mean(self._push(log_prob, log_ratio, batch.log_prob), negative)
        policy_loss = positive_loss + self.alpha * negative_loss
        kl = approx_kl(log_ratio)  # needs no more of the old policy than its log-probabilities
        if self.neg_bound == "kl":
            policy_loss = policy_loss + self.kl_coef * kl
        with torch.no_grad():
            metrics = {
                "losses/policy_loss": policy_loss.detach(),
                "losses/positive_loss": positive_loss.detach(),
                "losses/negative_loss": negative_loss.detach(),
                "losses/negative_log_prob": weighted_mean(log_prob, (negative > 0).float()),
                **({"losses/entropy": actor.entropy(batch.obs).mean()} if actor.can("entropy") else {}),
                "losses/approx_kl": kl.detach(),
            }
        return policy_loss, metrics

    def project(self, actor: Actor) -> None:
        """Puts the log standard deviation back within its bounds."""
        self.exploration.project(actor)

    def _push(self, log_prob: Tensor, log_ratio: Tensor, old_log_prob: Tensor) -> Tensor:
        """[B]: what is minimised for the actions of the negative group."""
        if self.neg_bound == "margin":
            return torch.maximum(log_prob, old_log_prob - self.margin)
        if self.neg_bound == "ppo":
            return log_ratio.exp().clamp(min=1 - self.clip_coef)
        return log_prob
