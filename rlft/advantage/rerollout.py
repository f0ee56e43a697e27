"""Monte-Carlo re-rollouts: go back to the states of the rollout and play on from there, many times.

Kazemnejad, Aghajohari, Portelance, Sordoni, Reddy, Courville, Le Roux 2024, "VinePPO", section 4: V(s) is the mean
return of K re-rollouts from s, without a learned critic. With an expert playing on, these are the advantages of Ross
and Bagnell 2014, "AggreVaTe". Deviations: the re-rollout policy may be any policy; in a deterministic simulator
Q(s, a) = r + gamma V(s') needs no re-rollouts of its own (`identity`), which halves the cost at the same variance.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from rlft.advantage.base import CriticValue, ValueEstimator
from rlft.advantage.gae import bootstrap_value
from rlft.advantage.sampling import MeanReturns, mean_returns
from rlft.advantage.starts import Measured, Starts, covariance, measured_at
from rlft.errors import UserError, require
from rlft.networks import DiagonalGaussianActor
from rlft.networks.policy_checks import check_shapes
from rlft.networks.policy_files import load_policy
from rlft.statistics.fit import correlation, explained_variance
from rlft.types import Actor, AdvantageEstimate, Batch, Branches, Critic, Jobs, PolicyName, Rerollouts, Rollout


class MonteCarloRerollout(ValueEstimator):
    """Q - V of a re-rollout policy, measured in the simulator.

    Logs the advantages' root-mean-square standard error and their reliability: the share of their variance that is
    not sampling error. A pilot makes the error somewhat larger than it says.

    Args:
        policy: who plays on: a zoo name, policy or checkpoint file, e.g. an expert (an oracle that real tasks do not
            have). `null` is the policy being trained.
        num_samples: re-rollouts per state (K).
        gamma: discount per env step.
        estimator: `identity` measures V once per state and takes Q(s, a) from the state that a led to. `direct`
            measures Q by re-rollouts that begin with a, at twice the cost.
        horizon: `remaining` ends a re-rollout at the time limit of the episode it began in. `fresh` gives it a whole
            time limit of its own; with `identity` Q then sees one step more than V, a bias of at most gamma^limit.
        tolerance: also end re-rollouts once gamma^steps is below this. It bounds the bias of a return whose reward
            comes at most once; with rewards of up to R in every step the bound is R / (1 - gamma) times this.
        tail_steps: end re-rollouts after so many env steps and let the run's critic value the rest: cheaper and less
            noisy, biased as far as the critic is wrong, which the logged error does not know. The critic learns the
            values that are measured here; begin with one of the re-rollout policy (`model.critic_policy`).
        common_noise: re-rollouts from states of one environment share their action noise, aligned in time.
        antithetic: pairs of re-rollouts use opposite action noise; needs an even number of samples.
        every_k: estimate only every k-th step. Neighbouring steps share re-rollouts: 2 saves nothing, 4 saves half.
        pilot_samples: begin with so many re-rollouts per state, then spend what is left of the cost of `num_samples`
            where the returns vary most; `null` gives every state `num_samples`. Pays where variances differ much from
            state to state, as with an expert; slightly biased, because the pilot counts too.
        center: `batch` subtracts the mean of all advantages. `state` subtracts the state's mean advantage over
            `center_actions` other actions of the policy being trained, each with `num_samples` re-rollouts.
        center_actions: see `center`.
        critic: also learn a critic of these values and log how well it agrees; only `tail_steps`, which implies it,
            uses it.
        vf_coef: weight of that critic's loss.
    """

    needs_visited = True
    critic_is_diagnostic = True
    num_samples: int

    def __init__(
        self,
        policy: PolicyName | None = None,
        num_samples: int = 16,
        gamma: float = 0.8,
        estimator: Literal["identity", "direct"] = "identity",
        horizon: Literal["remaining", "fresh"] = "remaining",
        tolerance: float = 1e-3,
        tail_steps: int | None = None,
        common_noise: bool = False,
        antithetic: bool = False,
        every_k: int = 1,
        pilot_samples: int | None = None,
        center: Literal["none", "batch", "state"] = "none",
        center_actions: int = 4,
        critic: bool = False,
        vf_coef: float = 0.5,
    ) -> None:
        super().__init__(gamma=gamma, vf_coef=vf_coef)
        where = "model.advantage"
        for name, value in (("num_samples", num_samples), ("every_k", every_k), ("center_actions", center_actions)):
            require(value >= 1, f"{where}.{name}", value, "at least 1")
        require(0 < tolerance < 1, f"{where}.tolerance", tolerance, "between 0 and 1")
        require(tail_steps is None or tail_steps >= 1, f"{where}.tail_steps", tail_steps, "at least 1")
        if antithetic and (num_samples % 2 or (pilot_samples or 0) % 2):
            odd = num_samples if num_samples % 2 else pilot_samples
            raise UserError(f"{where}.antithetic needs an even number of samples, not {odd}.")
        fewest = 4 if antithetic else 2  # one sample, or one pair, says nothing about variance
        if pilot_samples is not None and not fewest <= pilot_samples <= num_samples:
            raise UserError(f"{where}.pilot_samples is {pilot_samples}; it must be from {fewest} to num_samples.")
        self.policy = policy
        self.num_samples = num_samples
        self.estimator = estimator
        self.horizon = horizon
        self.tolerance = tolerance
        self.tail_steps = tail_steps
        self.common_noise = common_noise
        self.antithetic = antithetic
        self.every_k = every_k
        self.pilot_samples = pilot_samples
        self.center = center
        self.center_actions = center_actions
        self.labels_with_critic = tail_steps is not None
        self.wants_critic = critic or self.labels_with_critic
        self.fewest_envs = center_actions + 1 if center == "state" else 1

    def critic_value(self) -> CriticValue:
        """Of whoever plays the re-rollouts, as far as these go."""
        return CriticValue(
            self.gamma,
            self.reward_scale,
            bootstrap_at_done="never" if self.horizon == "remaining" else "truncation",
            policy=self.policy,
        )

    @cached_property
    def _oracle(self) -> Actor | None:
        return None if self.policy is None else load_policy(self.policy).actor

    def check(self, obs_dim: int, action_dim: int) -> None:
        """Refuses an oracle of another task."""
        if self.policy is not None:
            check_shapes(load_policy(self.policy), obs_dim, action_dim)

    def estimate(self, rollout: Rollout, critic: Critic, rerollouts: Rerollouts) -> AdvantageEstimate:
        """Plays the re-rollouts; steps that `every_k` skips or that the simulator spoiled are masked."""
        device, critic_value, critic_next = rollout.obs.device, critic(rollout.obs), critic(rollout.next_obs)
        rollout = rollout.to("cpu")
        asked = torch.zeros_like(rollout.done)  # [T, N]
        asked[:: self.every_k] = True
        starts = Starts(rerollouts, self._horizons(rerollouts), common_noise=self.common_noise)
        starts.add_states(asked, asked & ~rollout.terminated & (self.estimator == "identity"))
        if self.estimator == "direct":
            starts.add_actions(asked, rollout.action)
        if self.center == "state":
            for action in self._other_actions(rollout, rerollouts.actor):
                starts.add_actions(asked, action)
        returns = mean_returns(
            lambda jobs: self._play(rerollouts, jobs, critic, device),
            Jobs.cat(starts.jobs),
            self.num_samples,
            antithetic=self.antithetic,
            pilot_samples=self.pilot_samples,
        )
        value = measured_at(returns, starts.before, starts.over_before)
        advantage, squared_error = self._advantage(rollout, starts, returns, value)
        mask = asked & advantage.isfinite()  # not what is known by chance: that depends on where episodes end
        if self.center == "batch":
            advantage = advantage - advantage[mask].mean()
        metrics = _precision(advantage[mask], squared_error[mask])
        if self.wants_critic:
            after = bootstrap_value(rollout, critic_next.cpu(), self.critic_value().bootstrap_at_done)  # [T, N]
            delta = (rollout.reward + self.gamma * after - critic_value.cpu())[mask]
            metrics |= {
                "losses/explained_variance": explained_variance(critic_value.cpu()[mask], value.mean[mask]),
                "charts/critic_advantage_correlation": correlation(delta, advantage[mask]),
            }
        return AdvantageEstimate(
            advantage=advantage.nan_to_num().to(device),
            value=critic_value,
            value_target=value.mean.nan_to_num().to(device),
            mask=mask.to(device),
            metrics=metrics,
        )

    def _advantage(
        self, rollout: Rollout, starts: Starts, returns: MeanReturns, value: Measured
    ) -> tuple[Tensor, Tensor]:
        """Q - V `[T, N]`, NaN where something is missing, and its squared error."""
        actions = [measured_at(returns, where) for where in starts.actions]
        if self.estimator == "direct":
            quality, own, weight = actions.pop(0), starts.actions[0], 1.0
        else:  # Q(s, a) = r + gamma (1 - terminated) V(s')
            successor = measured_at(returns, starts.after, starts.over_after | rollout.terminated)
            quality = Measured(rollout.reward + self.gamma * successor.mean, self.gamma**2 * successor.squared_error)
            own, weight = starts.after, self.gamma
        if self.center == "state":
            mean = torch.stack([action.mean for action in actions]).mean(0)
            error = torch.stack([action.squared_error for action in actions]).mean(0) / len(actions)
            squared_error = quality.squared_error + error
            if self.common_noise:  # as below; besides, the other actions' errors have 2 / n^2 sum_i<j Cov(Q_i, Q_j)
                count, others = len(actions), starts.actions[-len(actions) :]
                with_own = sum(covariance(returns, own, other) for other in others)
                among = sum(covariance(returns, *pair) for pair in itertools.combinations(others, 2))
                squared_error = squared_error + 2 * among / count**2 - 2 * weight * with_own / count
            return quality.mean - mean, squared_error
        squared_error = quality.squared_error + value.squared_error
        if self.common_noise:  # Var(Q - V) = Var(Q) + Var(V) - 2 Cov(Q, V)
            squared_error = squared_error - 2 * weight * covariance(returns, starts.before, own)
        return quality.mean - value.mean, squared_error

    def critic_loss(self, critic: Critic, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Of the diagnostic critic, if there is one."""
        if not self.wants_critic:
            return batch.value.new_zeros(()), {}
        return super().critic_loss(critic, batch)

    def _horizons(self, rerollouts: Rerollouts) -> Tensor:
        """After how many env steps a re-rollout from each visited state ends, `[M]` int64."""
        limit = rerollouts.spec.max_episode_steps
        elapsed = rerollouts.visited.states.elapsed
        horizon = limit - elapsed if self.horizon == "remaining" else torch.full_like(elapsed, limit)
        if self.gamma == 1:
            return horizon
        return horizon.clamp(max=math.ceil(math.log(self.tolerance) / math.log(self.gamma)) if self.gamma else 1)

    def _play(self, rerollouts: Rerollouts, jobs: Jobs, critic: Critic, device: torch.device) -> Branches:
        """Plays re-rollouts; the return of one that `tail_steps` cuts short goes on with gamma^steps V."""
        player = rerollouts.actor if self._oracle is None else self._oracle
        if self.tail_steps is None:
            return rerollouts.play(player, jobs, self.gamma)
        shortened = dataclasses.replace(jobs, horizon=jobs.horizon.clamp(max=self.tail_steps))
        branches = rerollouts.play(player, shortened, self.gamma)
        cut = branches.valid & ~branches.terminated & (branches.steps < jobs.horizon)  # [J]
        tail = self.gamma ** branches.steps[cut] * critic(branches.end_obs[cut].to(device)).cpu()
        total = branches.discounted_return.clone()
        total[cut] += tail
        return dataclasses.replace(branches, discounted_return=total)

    def _other_actions(self, rollout: Rollout, actor: Actor) -> list[Tensor]:
        """Further samples `[T, N, A]` of the policy's actions in the same states.

        Their noise is that of actions it took in other environments: fresh as far as these states are concerned, and no
        random numbers are needed.

        Raises:
            UserError: if there are too few environments, or the actions are no mean plus noise.
        """
        if self.center_actions >= rollout.action.shape[1]:
            raise UserError(f"model.advantage.center_actions is {self.center_actions}; it must be below data.num_envs.")
        if not isinstance(actor, DiagonalGaussianActor):
            raise UserError(
                "model.advantage.center state exchanges the noise of Gaussian actions, but the actor is a "
                f"{type(actor).__name__}; use batch or none."
            )
        mean = actor(rollout.obs.to(actor.device)).cpu()
        noise = rollout.action - mean  # [T, N, A]
        return [mean + noise.roll(i + 1, 1) for i in range(self.center_actions)]


def _precision(advantage: Tensor, squared_error: Tensor) -> dict[str, float]:
    """Root-mean-square standard error, and the share of the variance that is not sampling error; of two samples up."""
    if len(advantage) < 2:
        return {}
    error, variance = squared_error.nanmean(), advantage.var()
    if not error.isfinite() or not variance > 0:
        return {}
    return {
        "charts/advantage_standard_error": float(error.sqrt()),
        "charts/advantage_reliability": float(1 - error / variance),
    }
