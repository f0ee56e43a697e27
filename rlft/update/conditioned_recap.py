"""The policy half of pi*0.6's RECAP: learn what better and worse actions look like, then ask for better ones.

Physical Intelligence 2025, "pi*0.6: a VLA That Learns From Experience" (arXiv 2511.14759), RL with Experience and
Corrections via Advantage-conditioned Policies. Deviations: any advantage estimator may come before it; Gaussian actions
instead of flow matching; the indicator is not dropped at random, see `actor_loss`.
"""

import math

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.networks import ConditionedActor, GaussianActor
from rlft.networks.conditioned_actor import NULL
from rlft.networks.distributions import approx_kl
from rlft.types import Actor, AdvantageEstimate, Batch
from rlft.update.base import PolicyUpdate
from rlft.update.exploration import Exploration


class ConditionedRECAP(PolicyUpdate):
    """Imitates every action of the rollout, told whether it was among the best; acts as among the best.

    Pure maximum likelihood, hence bounded, and bad actions teach as well. It improves only as far as the condition
    changes what the actor does: `losses/condition_gap` is how far the acting mean is from the unconditioned one, in
    standard deviations, and about 0 means that the condition is ignored.

    Advantages that tie with the threshold count as negative. Sparse rewards can tie most of them, often at 0: then
    fewer than `positive_ratio` are positive (`charts/pos_ratio`), and none at all if more than that share the maximum.

    Args:
        positive_ratio: share of the actions, those with the largest advantages, that are learned as positive.
        null_probability: weight of learning an action without the indicator, instead of with it.
        guidance: how far to go from the unconditioned towards the positive mean when acting; 1 is plain conditioning.
        train_log_std: also fit the standard deviation, which all conditions share; else it keeps its values.
        log_std_min: the log standard deviation never falls below this; `null` sets no bound.
    """

    def __init__(
        self,
        positive_ratio: float = 0.3,
        null_probability: float = 0.1,
        guidance: float = 1.0,
        train_log_std: bool = True,
        log_std_min: float | None = -3.0,
    ) -> None:
        if not 0 < positive_ratio < 1:
            raise UserError(f"model.update.positive_ratio is {positive_ratio}; it must be between 0 and 1.")
        if not 0 <= null_probability < 1:
            raise UserError(
                f"model.update.null_probability is {null_probability}; it must be at least 0 and less than 1."
            )
        if not 0 <= guidance < math.inf:
            raise UserError(f"model.update.guidance is {guidance}; it must be at least 0 and finite.")
        if guidance != 1 and null_probability == 0:
            raise UserError(
                f"model.update.guidance {guidance} needs the unconditioned policy; set null_probability above 0."
            )
        self.exploration = Exploration(train_log_std, log_std_min)
        self.positive_ratio = positive_ratio
        self.null_probability = null_probability
        self.guidance = guidance

    def adapt(self, actor: Actor) -> Actor:
        """A conditioned actor with the weights of `actor`; one that already is conditioned only gets the guidance.

        Raises:
            UserError: if there is no way to condition this kind of actor.
        """
        if not isinstance(actor, ConditionedActor | GaussianActor):
            raise UserError(
                f"ConditionedRECAP cannot condition an actor of class {type(actor).__name__}; use GaussianActor."
            )
        conditioned = actor if isinstance(actor, ConditionedActor) else ConditionedActor(actor)
        conditioned.guidance.fill_(self.guidance)
        return self.exploration.adapt(conditioned)

    def signal(self, estimate: AdvantageEstimate) -> tuple[Tensor, dict[str, float]]:
        """The indicator 1(A > threshold), the threshold being the 1 - positive_ratio quantile of the advantages."""
        known = estimate.advantage[estimate.mask]  # [M]
        negatives = max(1, len(known) - round(self.positive_ratio * len(known)))
        threshold = known.sort().values[negatives - 1 : negatives]  # [1], or nothing if nothing is known
        indicator = torch.zeros_like(estimate.advantage)  # NEGATIVE
        indicator[estimate.mask] = (known > threshold).to(indicator.dtype)  # POSITIVE
        return indicator, {"charts/pos_ratio": float(indicator[estimate.mask].mean())}

    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean of -(1 - p) log pi(a | s, I) - p log pi(a | s, null).

        That is the expectation over dropping the indicator with probability p. Taking it exactly costs a second pass
        through a small network; it has less variance than dropping, and no random state to save for resuming.
        """
        assert isinstance(actor, ConditionedActor)  # made by `adapt`
        null = actor.conditioned(batch.obs, NULL)
        told = actor.conditioned(batch.obs, batch.signal.long())
        null_loss = -null.log_prob(batch.action).mean()
        told_loss = -told.log_prob(batch.action).mean()
        policy_loss = torch.lerp(told_loss, null_loss, self.null_probability)
        with torch.no_grad():
            acting = actor.distribution(batch.obs)
            log_ratio = acting.log_prob(batch.action) - batch.log_prob  # [B]
            gap = null.standardized(acting.mode())  # [B, A]
            metrics = {
                "losses/policy_loss": policy_loss.detach(),
                "losses/conditioned_loss": told_loss.detach(),
                "losses/null_loss": null_loss.detach(),
                "losses/condition_gap": (gap**2).mean().sqrt(),
                "losses/entropy": acting.entropy(),
                "losses/approx_kl": approx_kl(log_ratio),
            }
        return policy_loss, metrics

    def project(self, actor: Actor) -> None:
        """Raises the log standard deviation to its bound."""
        self.exploration.project(actor)
