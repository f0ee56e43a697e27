"""Advantage-weighted regression.

Peng, Kumar, Zhang, Levine 2019, "Advantage-Weighted Regression", equation 9 and algorithm 1: the policy that maximises
the expected advantage within a KL ball around the one that acted is pi_old exp(A / beta), and the actor is fitted to it
by weighted maximum likelihood. Deviations: only the current iteration's data, no replay buffer; the weights are
rescaled to mean 1 in every minibatch, so that beta controls greediness and not the step size; an actor may have
something else than its likelihood to be fitted by.
"""

import math

import torch
from torch import Tensor

from rlft.networks.distributions import approx_kl
from rlft.types import Ability, Actor, AdvantageEstimate, Batch
from rlft.update.base import PolicyUpdate, check_target_kl
from rlft.update.exploration import Exploration
from rlft.update.weights import check_positive, effective_sample_size, exponential, standardize, weighted_mean


class AWR(PolicyUpdate):
    """Imitates the actions of the rollout, each with weight min(exp(A / beta), max_weight).

    `charts/effective_sample_size` is how many equally weighted actions the weights are worth, as a share of all.
    Advantages that are nothing but noise spread the weights just as widely as real ones.

    Args:
        beta: temperature of the weights, in standard deviations of the advantages: the smaller, the greedier.
        max_weight: larger weights are cut to this.
        norm_adv: normalise the advantages to mean 0 and standard deviation 1, once per iteration over all of them.
        train_log_std: also fit the standard deviation, which shrinks as the same actions are fitted again and again;
            else it keeps its values.
        log_std_min: the log standard deviation never falls below this; `null` sets no bound.
        target_kl: stop updating the actor for this iteration once KL(old || new) exceeds this many nats; `null` never
            stops. With fixed data, old is the policy that collected them, so the actor stops for good.
    """

    def __init__(
        self,
        beta: float = 0.5,
        max_weight: float = 20.0,
        norm_adv: bool = True,
        train_log_std: bool = True,
        log_std_min: float | None = -3.0,
        target_kl: float | None = None,
    ) -> None:
        check_positive("beta", beta)
        check_positive("max_weight", max_weight)
        self.exploration = Exploration(train_log_std, log_std_min)
        check_target_kl(target_kl)
        self.beta = beta
        self.max_weight = max_weight
        self.norm_adv = norm_adv
        self.target_kl = target_kl

    @property
    def needs(self) -> frozenset[Ability]:
        """A density only for a `target_kl`."""
        needs: set[Ability] = {"act", "imitation"} if self.target_kl is None else {"act", "imitation", "log_prob"}
        return frozenset(needs) | self.exploration.needs

    def adapt(self, actor: Actor) -> Actor:
        """The same actor, whose standard deviation is kept if it is not to be trained."""
        return self.exploration.adapt(actor)

    def signal(self, estimate: AdvantageEstimate) -> tuple[Tensor, dict[str, float]]:
        """The weights, not yet rescaled."""
        mask, advantage = estimate.mask, estimate.advantage
        if self.norm_adv:
            advantage = standardize(advantage, mask)
        weight = exponential(advantage, self.beta, self.max_weight)  # [T, N]
        clipped = advantage > self.beta * math.log(self.max_weight)  # [T, N]
        return weight, {
            "charts/weight_mean": float(weight[mask].mean()),
            "charts/effective_sample_size": effective_sample_size(weight[mask]),
            "charts/weight_clip_fraction": float(clipped[mask].float().mean()),
        }

    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of w times what imitating the action takes, -log pi, the weights rescaled to mean 1."""
        error, known = _imitation(actor, batch)
        policy_loss = weighted_mean(error, batch.signal)
        return policy_loss, {"losses/policy_loss": policy_loss.detach(), **known}

    def project(self, actor: Actor) -> None:
        """Raises the log standard deviation to its bound."""
        self.exploration.project(actor)


def _imitation(actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """What to minimise for every action, `[B]`, and metrics of what else the actor knows."""
    known: dict[str, Tensor] = {}
    if actor.can("entropy"):
        with torch.no_grad():
            known["losses/entropy"] = actor.entropy(batch.obs).mean()
    if not actor.can("log_prob"):
        return actor.imitation(batch.obs, batch.action), known
    with torch.set_grad_enabled(actor.imitates_by_likelihood and torch.is_grad_enabled()):
        log_prob = actor.log_prob(batch.obs, batch.action)  # [B]
    known["losses/approx_kl"] = approx_kl((log_prob - batch.log_prob).detach())
    return -log_prob if actor.imitates_by_likelihood else actor.imitation(batch.obs, batch.action), known
