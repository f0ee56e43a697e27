"""Implicit quantile networks: the return of every choice as a distribution, from a replay buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from rlft.errors import UserError, require
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.injection import Inject, inject_part, start_actor, start_name
from rlft.modules.piecewise import Piecewise
from rlft.modules.replay import ReplayModule, check_learning
from rlft.networks import EpsilonGreedy, NoCritic, QuantileActor
from rlft.networks.action_values import follow, frozen_copy
from rlft.off_policy.quantile_huber import quantile_huber, stratified
from rlft.types import (
    Actor,
    Critic,
    Experience,
    NeedsLength,
    Obs,
    PolicyName,
    ReplayBatch,
    Start,
    Transition,
    Warmup,
)

Points = tuple[tuple[int, float], ...]  # env step and number


class IQNModule(ReplayModule):
    """An actor whose values of choices are quantiles of their returns.

    Samples of a target are c (r_1 + ... + gamma^(k-1) r_k) + gamma^k Q'_tau(s_k, a*): c is `reward_scale`, Q' a slowly
    following copy, k `n_step` or less where an episode ends, and what follows a termination is worth nothing. The loss
    is quantile Huber regression (Dabney et al. 2018, 1806.06923); a* is the best choice of the actor (van Hasselt et
    al. 2016, double Q-learning) or of the copy. Deviation: levels are drawn one from each of equal parts of (0, 1).

    The environment's actions have to be choices. In the first `warmup_iterations` it only collects.

    The optimiser's arguments are documented in `IterationModule`.

    Args:
        obs_dim: numbers per observation; taken from the environment.
        action_dim: numbers per action; taken from the environment.
        actor: how to build the network when there is no `policy`.
        policy: the policy to start from, a `QuantileActor`: a policy or checkpoint file; `null` starts from scratch.
        inject_from: zoo policy, policy file or checkpoint that gives a part of its actor to the actor of the start.
        inject: which part: `encoder`, its part `image`, `advantage`, `encoder+advantage`, or the `full` actor.
        start_scale: what the values of the start are multiplied by: those of a clone are logits, and those of a new
            network have a size of about 1, whatever returns have; which choice is best does not change.
        gamma: discount per env step.
        n_step: env steps whose rewards a target has.
        horizon: env steps whose rewards a value has: every transition is drawn with so many left at most, and a `timed`
            actor is told how many (the mini races of Linesight's agent, github.com/Linesight-RL/linesight); values are
            then of no use to compare with returns of episodes. 0 has no horizon.
        double_q: the actor says which choice a target values; else the copy does.
        quantiles: levels at which the values of a gradient step are asked for.
        target_quantiles: likewise of the targets.
        kappa: error beyond which the loss is linear, in units of scaled returns; where it is not small beside them, the
            values of risky choices are wrong (docs/methods/iqn.md).
        reward_scale: what rewards are multiplied by.
        polyak: how far the copy follows at every gradient step.
        warmup_iterations: of those that collect the first ones, in which nothing is learned.
        epsilon: probability of a choice drawn uniformly, by env step; in a straight line from point to point.
        noisy: probability, of the other decisions, that the values get noise first, by env step.
        value_noise: its standard deviation, in units of scaled returns.
        optimizer: `radam`, or `adam`.
    """

    actor: QuantileActor
    warmup: Warmup = "collect"

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        actor: Start[Callable[[int, int], QuantileActor]],
        policy: Start[PolicyName | None] = None,
        inject_from: Start[PolicyName | None] = None,
        inject: Start[Inject] = "none",
        start_scale: Start[float] = 1.0,
        gamma: float = 0.99,
        n_step: int = 3,
        horizon: int = 0,
        double_q: bool = True,
        quantiles: int = 8,
        target_quantiles: int = 8,
        kappa: float = 0.01,
        reward_scale: float = 1.0,
        polyak: float = 0.005,
        warmup_iterations: int = 1,
        epsilon: Points = ((0, 1.0), (10_000, 0.1), (100_000, 0.03)),
        noisy: Points = ((0, 0.0),),
        value_noise: float = 0.01,
        optimizer: Literal["radam", "adam"] = "radam",
        learning_rate: float = 3e-4,
        learning_rate_factors: dict[str, float] | None = None,
        learning_rate_warmup: int = 0,
        anneal_lr: NeedsLength[bool] = False,
        max_grad_norm: float = 30.0,
        on_bad_numbers: OnBadNumbers = "stop",
    ) -> None:
        super().__init__(
            learning_rate, learning_rate_factors, learning_rate_warmup, anneal_lr, max_grad_norm, on_bad_numbers
        )
        check_learning(gamma, n_step, polyak, warmup_iterations)
        require(horizon >= 0, "model.horizon", horizon, "at least 0")
        for name, count in (("quantiles", quantiles), ("target_quantiles", target_quantiles)):
            require(count >= 1, f"model.{name}", count, "at least 1")
        for name, size in (("start_scale", start_scale), ("kappa", kappa), ("reward_scale", reward_scale)):
            require(0 < size < float("inf"), f"model.{name}", size, "above 0 and finite")
        require(0 <= value_noise < float("inf"), "model.value_noise", value_noise, "at least 0 and finite")
        self.epsilon, self.noisy = _shares("epsilon", epsilon), _shares("noisy", noisy)
        self.policy = start_name(policy, inject_from, inject)
        own: Actor = start_actor(policy, actor, obs_dim, action_dim)
        if not isinstance(own, QuantileActor):
            raise UserError(
                f"model starts with a {type(own).__name__}, but an IQNModule learns a QuantileActor; take parts of "
                "others with model.inject_from."
            )
        if own.timed != bool(horizon):
            right = f"model.actor.timed has to be {'true' if horizon else 'false'}"
            raise UserError(f"model.horizon is {horizon}, so {right}, that of the actor or of its policy.")
        self.actor = own
        self.critic: Critic = NoCritic()
        self.notes += inject_part(self.actor, inject_from, inject)
        self.actor.scale_values(start_scale)
        self._fits_moments = policy is None and inject in ("none", "advantage", "image")
        self.target = frozen_copy(self.actor)
        self.gamma, self.n_step, self.horizon, self.double_q, self.polyak = gamma, n_step, horizon, double_q, polyak
        self.quantiles, self.target_quantiles = quantiles, target_quantiles
        self.kappa, self.reward_scale, self.value_noise = kappa, reward_scale, value_noise
        self.warmup_iterations, self.optimizer = warmup_iterations, optimizer

    def critic_info(self) -> dict[str, Any] | None:
        """There is no critic beside the actor."""
        return None

    def network_rates(self) -> dict[str, float]:
        """The actor is all that learns."""
        return {"actor": self.learning_rate}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One RAdam, or one Adam."""
        return (
            self.optimisation.radam(self.learning_rate) if self.optimizer == "radam" else super().configure_optimizers()
        )

    # ---- collecting ----------------------------------------------------------------------------------------------

    @property
    def collector(self) -> Actor:
        """The actor, exploring as much as this moment asks for."""
        now = self.env_steps
        return EpsilonGreedy(self.actor, self.epsilon.at(now), self.noisy.at(now), self.value_noise)

    def noise_scale(self, num_envs: int) -> Tensor | None:
        """All environments explore alike."""
        return None

    def begin(self, experience: Experience) -> None:
        """Standardises numbers of observations by the first ones; an encoder that has learned knows its numbers."""
        if not self._fits_moments:
            return
        state = experience.obs.state[experience.usable]
        for network in (self.actor, self.target):
            network.fit_moments(state)

    # ---- one iteration -------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Begins an iteration, and says how much it explores at first."""
        super().on_train_epoch_start()
        self.metrics.set({"charts/epsilon": self.epsilon.at(self.env_steps)})

    def training_step(self, batch: ReplayBatch, batch_idx: int) -> Tensor | None:
        """The quantile regression of a minibatch."""
        target = self._target(batch.transition)  # [B, m]
        tau = stratified(len(target), self.quantiles, self.noise)  # [B, n]
        predicted = _of_choice(self.actor.quantiles(batch.obs, tau), batch.action)  # [B, n]
        loss = quantile_huber(predicted, tau, target, self.kappa).mean()
        with torch.no_grad():
            self.metrics.average(
                {
                    "losses/value_loss": loss.detach(),
                    "charts/q_mean": predicted.mean() / self.reward_scale,
                    "charts/q_target_mean": target.mean() / self.reward_scale,
                }
            )
        if not loss.requires_grad:  # all that could learn is frozen
            return None
        self.metrics.count("charts/actor_updates")
        return loss

    @torch.no_grad()
    def _target(self, ahead: Transition) -> Tensor:
        """Samples of the scaled return, `[B, m]`."""
        tau = stratified(len(ahead.reward), self.target_quantiles, self.noise)  # [B, m]
        quantiles = self.target.quantiles(ahead.next_obs, tau)  # [B, m, A]
        judge = self.actor.quantiles(ahead.next_obs, tau) if self.double_q else quantiles
        best = judge.mean(1).argmax(-1, keepdim=True)  # [B, 1]
        following = _of_choice(quantiles, best)
        return self.reward_scale * ahead.reward[:, None] + ahead.discount[:, None] * following

    def after_step(self) -> None:
        """The copy follows."""
        follow(self.target, self.actor, self.polyak)

    def mean_value(self, obs: Obs, action: Tensor) -> Tensor:
        """Of the actor, `[B]`, as the data count returns."""
        values = torch.cat([self.actor.values(part) for part in obs.in_parts()])
        return values.gather(-1, action).squeeze(-1) / self.reward_scale

    def _validate_held_out(self) -> None:
        """With a horizon, returns of episodes are something else than values."""
        if not self.horizon:
            super()._validate_held_out()

    @torch.no_grad()
    def _outputs(self, batch: ReplayBatch) -> dict[str, Tensor]:
        """What the network makes of a minibatch, `[B, A]`."""
        return {"values": self.actor.values(batch.obs)}


def _shares(name: str, points: Points) -> Piecewise:
    for step, share in points:
        require(0 <= share <= 1, f"model.{name} at step {step}", share, "from 0 to 1")
    return Piecewise(points, "linear", f"model.{name}")


def _of_choice(quantiles: Tensor, choice: Tensor) -> Tensor:
    """Of quantiles `[B, n, A]` those of one choice each, `[B, 1]`: `[B, n]`."""
    return quantiles.gather(-1, choice[:, None, :].expand(-1, quantiles.shape[1], -1)).squeeze(-1)
