"""Implicit Q-learning as an advantage estimator: V is an expectile of Q over the actions in the data.

Kostrikov, Nair, Levine 2021, "Offline Reinforcement Learning with Implicit Q-Learning" (arXiv 2110.06169), equations 5
and 6; the policy extraction of equation 7 is the update AWR. Deviations:

- Q may look several steps ahead (`n_step`), with the data's own actions in between: biased where another policy acted.
- V and Q learn in one gradient step. The targets of both are constants, so that their gradients do not mix; Q's target
  has the V from before the step, as in CORL's PyTorch version, where the paper's own code has the V after it.
- Advantages are GAE's with this V along the trajectories, unless `advantage` asks for the paper's Q - V.
- There is no replay buffer: where every iteration collects, V and Q learn from that iteration's transitions only.
"""

from typing import Literal

import torch
from torch import Tensor

from rlft.advantage.base import AdvantageEstimator, CriticValue, check_reward_scale, check_share
from rlft.advantage.gae import bootstrap_value, gae
from rlft.errors import UserError, require
from rlft.networks import ActionValueCritic, ValueCritic
from rlft.statistics.fit import explained_variance, spread
from rlft.types import AdvantageEstimate, Batch, BootstrappedBatch, Critic, Rerollouts, Rollout, Transition


class IQL(AdvantageEstimator):
    """Implicit Q-learning: V is an expectile of Q over the actions in the data.

    `losses/explained_variance` is that of the lambda-return of the data by V; above expectile 0.5 V means to be more
    than its mean.

    Args:
        gamma: discount per env step.
        expectile: of Q, which V learns: 0.5 is the mean over the data's actions, towards 1 the best of them.
        n_step: env steps that Q's target looks ahead before it trusts V.
        single_q: one Q network instead of two, of which V learns from the smaller value.
        polyak: share of the way that the target networks move towards Q after every gradient step.
        advantage: `gae`: along the trajectories, with V. `q_minus_v`: what the target networks say of the action.
        gae_lambda: of `gae` and of the logged explained variance: 0 trusts V after one step, 1 uses the whole return.
        reward_scale: factor on every reward before anything else is computed.
    """

    def __init__(
        self,
        gamma: float = 0.8,
        expectile: float = 0.7,
        n_step: int = 1,
        single_q: bool = False,
        polyak: float = 0.005,
        advantage: Literal["gae", "q_minus_v"] = "gae",
        gae_lambda: float = 0.95,
        reward_scale: float = 1.0,
    ) -> None:
        check_share("gamma", gamma)
        check_share("gae_lambda", gae_lambda)
        check_reward_scale(reward_scale)
        require(0 < expectile < 1, "model.advantage.expectile", expectile, "above 0 and below 1")
        require(0 < polyak <= 1, "model.advantage.polyak", polyak, "above 0 and at most 1")
        require(n_step >= 1, "model.advantage.n_step", n_step, "at least 1")
        self.gamma = gamma
        self.expectile = expectile
        self.n_step = n_step
        self.single_q = single_q
        self.polyak = polyak
        self.advantage = advantage
        self.q_minus_v = advantage == "q_minus_v"
        self.gae_lambda = gae_lambda
        self.reward_scale = reward_scale

    def critic_value(self) -> CriticValue:
        """See `AdvantageEstimator.critic_value`."""
        return CriticValue(self.gamma, self.reward_scale, expectile=self.expectile)

    def adapt(self, critic: Critic, obs_dim: int, action_dim: int) -> Critic:
        """Adds new Q networks to a critic that has only V."""
        num_q = 1 if self.single_q else 2
        if isinstance(critic, ValueCritic):
            return ActionValueCritic(critic, action_dim, num_q)
        if not isinstance(critic, ActionValueCritic):
            raise UserError(f"model.critic is a {type(critic).__name__}; action values need a ValueCritic.")
        found = (len(critic.q), critic.action_dim)
        if found != (num_q, action_dim):
            raise UserError(
                f"model.critic_policy has {found[0]} Q of {found[1]} action dimensions, but this run needs {num_q} of "
                f"{action_dim}; see model.advantage.single_q."
            )
        return critic

    def estimate(self, rollout: Rollout, critic: Critic, rerollouts: Rerollouts) -> AdvantageEstimate:
        """Both advantages are computed, so that their sizes can be compared; the configured one is returned."""
        value = critic(rollout.obs)  # [T, N]
        bootstrap = bootstrap_value(rollout, critic(rollout.next_obs), "truncation")  # [T, N]
        reward = self.reward_scale * rollout.reward
        along = gae(reward, value, bootstrap, rollout.done, self.gamma, self.gae_lambda)  # [T, N]
        q_minus_v = _with_q(critic).target_action_value(rollout.obs, rollout.action) - value  # [T, N]
        return AdvantageEstimate(
            advantage=along if self.advantage == "gae" else q_minus_v,
            value=value,
            value_target=along + value,
            mask=torch.ones_like(rollout.done),
            metrics={
                "losses/explained_variance": explained_variance(value, along + value),
                "charts/gae_std": spread(along),
                "charts/q_minus_v_mean": float(q_minus_v.mean()),
                "charts/q_minus_v_std": spread(q_minus_v),
            },
        )

    def critic_loss(self, critic: Critic, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """L_V + L_Q: equation 5 with the smaller target Q, equation 6 summed over the Q networks."""
        assert isinstance(batch, BootstrappedBatch)  # `extend` made it
        critic, ahead = _with_q(critic), batch.transition
        with torch.no_grad():
            q_target = ahead.reward + ahead.discount * critic(ahead.next_obs)  # [B]
        q_minus_v = critic.target_action_value(batch.obs, batch.action) - critic(batch.obs)  # [B]
        value_loss = expectile_loss(q_minus_v, self.expectile)
        q = critic.action_values(batch.obs, batch.action)  # [K, B]
        q_loss = ((q - q_target) ** 2).mean(1).sum()
        return value_loss + q_loss, {"losses/value_loss": value_loss.detach(), "losses/q_loss": q_loss.detach()}

    def extend(self, batch: Batch, rollout: Rollout) -> BootstrappedBatch:
        """Looks `n_step` steps ahead, fewer where the episode or the rollout ends before."""
        ahead = n_step_transition(rollout, self.n_step, self.gamma, self.reward_scale)
        return BootstrappedBatch(**vars(batch), transition=ahead)

    def after_step(self, critic: Critic) -> None:
        """Moves the target networks."""
        _with_q(critic).update_targets(self.polyak)


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """Mean of |tau - 1(u < 0)| u^2 over errors `u [B]`, target minus prediction; least for the target's expectile."""
    weight = torch.where(error < 0, 1 - expectile, expectile)  # [B]
    return (weight * error**2).mean()


def n_step_transition(rollout: Rollout, n_step: int, gamma: float, reward_scale: float) -> Transition:
    """What `m` steps lead to from each step, `[T, N]`: m = n_step, or less where episode or rollout end before.

    Only termination ends all reward. After the time limit, and behind the last step of the rollout, V of the true
    successor stands for the rest: to mask truncations too is a known bug of public implementations.
    """
    num_steps = len(rollout)
    step = torch.arange(num_steps, device=rollout.reward.device)[:, None].expand_as(rollout.reward)  # [T, N]
    reward = torch.zeros_like(rollout.reward)  # [T, N]
    last = step.clone()  # [T, N], the last step of the window
    goes_on = torch.ones_like(rollout.done)  # [T, N], neither episode nor rollout has ended within the window
    for k in range(min(n_step, num_steps)):
        first = slice(num_steps - k)  # those with k further steps behind them
        reward[first] += torch.where(goes_on[first], gamma**k * reward_scale * rollout.reward[k:], 0.0)
        last[first] = torch.where(goes_on[first], step[k:], last[first])
        goes_on[first] &= ~rollout.done[k:]
    discount = gamma ** (last - step + 1) * ~rollout.terminated.gather(0, last)  # [T, N]
    next_obs = rollout.next_obs[last, torch.arange(last.shape[1], device=last.device)]  # [T, N]
    return Transition(reward=reward, next_obs=next_obs, discount=discount)


def _with_q(critic: Critic) -> ActionValueCritic:
    assert isinstance(critic, ActionValueCritic)  # `adapt` made it
    return critic
