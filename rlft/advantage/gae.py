"""Generalised advantage estimation.

Schulman, Moritz, Levine, Jordan, Abbeel 2016, "High-Dimensional Continuous Control Using Generalized Advantage
Estimation", equation 16. Deviations: the value behind an episode's end is explicit (`bootstrap_at_done`), and
`finite_horizon_gae` normalises by the weights of the returns that exist, as ManiSkill's ppo.py does.
"""

import torch
from torch import Tensor

from rlft.advantage.base import BootstrapAtDone, CriticValue, ValueEstimator, check_share
from rlft.statistics.fit import explained_variance
from rlft.types import AdvantageEstimate, Critic, Rerollouts, Rollout


class GAE(ValueEstimator):
    """Generalised advantage estimation with a learned V.

    Args:
        gamma: discount per env step.
        gae_lambda: 0 trusts the critic after one step, 1 uses the whole return.
        finite_horizon_gae: average the n-step returns that exist before the episode or the rollout ends with weights
            lambda^n, instead of putting all remaining weight on the longest.
        bootstrap_at_done: what follows an episode's last state. `truncation`: its value after the time limit, nothing
            after success or failure. `always`: its value in both cases, as ManiSkill's PPO does. `never`: nothing.
        reward_scale: factor on every reward before anything else is computed.
        vf_coef: weight of the value loss.
        clip_vloss: penalise the larger of the plain and the clipped value error (PPO2's value clipping).
        vf_clip_coef: how far a value may move before `clip_vloss` clips it, in units of the scaled return.
    """

    def __init__(
        self,
        gamma: float = 0.8,
        gae_lambda: float = 0.9,
        finite_horizon_gae: bool = False,
        bootstrap_at_done: BootstrapAtDone = "truncation",
        reward_scale: float = 1.0,
        vf_coef: float = 0.5,
        clip_vloss: bool = False,
        vf_clip_coef: float = 0.2,
    ) -> None:
        super().__init__(gamma, reward_scale, vf_coef, clip_vloss, vf_clip_coef)
        check_share("gae_lambda", gae_lambda)
        self.gae_lambda = gae_lambda
        self.finite_horizon_gae = finite_horizon_gae
        self.bootstrap_at_done = bootstrap_at_done

    def critic_value(self) -> CriticValue:
        """See `AdvantageEstimator.critic_value`."""
        return CriticValue(self.gamma, self.reward_scale, self.bootstrap_at_done)

    def estimate(self, rollout: Rollout, critic: Critic, rerollouts: Rerollouts) -> AdvantageEstimate:
        """One critic call for the states, one for their true successors, one backward pass over time."""
        value = critic(rollout.obs)  # [T, N]
        bootstrap = bootstrap_value(rollout, critic(rollout.next_obs), self.bootstrap_at_done)  # [T, N]
        compute = finite_horizon_gae if self.finite_horizon_gae else gae
        reward = self.reward_scale * rollout.reward
        advantage = compute(reward, value, bootstrap, rollout.done, self.gamma, self.gae_lambda)
        value_target = advantage + value
        return AdvantageEstimate(
            advantage=advantage,
            value=value,
            value_target=value_target,
            mask=torch.ones_like(rollout.done),
            metrics={"losses/explained_variance": explained_variance(value, value_target)},
        )


def bootstrap_value(rollout: Rollout, next_value: Tensor, bootstrap_at_done: BootstrapAtDone) -> Tensor:
    """The value `[T, N]` that stands for everything after each step's true successor."""
    if bootstrap_at_done == "always":
        return next_value
    ended = rollout.terminated if bootstrap_at_done == "truncation" else rollout.done
    return torch.where(ended, 0.0, next_value)


def gae(reward: Tensor, value: Tensor, bootstrap: Tensor, done: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}; every argument and the result are `[T, N]`."""
    delta = reward + gamma * bootstrap - value  # [T, N]
    flow = gamma * gae_lambda * (~done).to(delta.dtype)  # [T, N], no credit crosses the end of an episode
    advantage = torch.empty_like(delta)
    carry = torch.zeros_like(delta[0])  # [N]
    for t in reversed(range(len(delta))):
        carry = delta[t] + flow[t] * carry
        advantage[t] = carry
    return advantage


def finite_horizon_gae(
    reward: Tensor, value: Tensor, bootstrap: Tensor, done: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Mean of the available n-step advantages with weights lambda^(n-1), divided by the weights' actual sum."""
    going_on = (~done).to(reward.dtype)  # [T, N]
    advantage = torch.empty_like(reward)
    weight = reward_sum = value_sum = torch.zeros_like(reward[0])  # [N]
    for t in reversed(range(len(reward))):
        weight = 1 + gae_lambda * going_on[t] * weight
        reward_sum = gae_lambda * gamma * going_on[t] * reward_sum + weight * reward[t]
        value_sum = gae_lambda * gamma * going_on[t] * value_sum + gamma * bootstrap[t]
        advantage[t] = (reward_sum + value_sum) / weight - value[t]
    return advantage
