"""Off-policy finetuning: an ensemble of Q from a replay buffer, and an actor that climbs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlft.errors import UserError, require
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.critic_provenance import OWN
from rlft.modules.injection import Inject, inject_part, start_actor, start_name
from rlft.modules.replay import ReplayModule, check_learning
from rlft.networks import GaussianActor, ResidualActor
from rlft.networks.action_values import follow, frozen_copy
from rlft.networks.noisy_mode import NoisyMode
from rlft.networks.q_ensemble import QEnsemble
from rlft.networks.residual import Gradual
from rlft.networks.value_heads import Probability
from rlft.off_policy import ActorObjective, Conservative
from rlft.off_policy.objective import Bounds
from rlft.types import (
    Actor,
    EnvSource,
    Experience,
    NeedsLength,
    Obs,
    PolicyName,
    ReplayBatch,
    ReplayBootstrap,
    ReplaySource,
    ReturnBatch,
    Start,
    Warmup,
)


class OffPolicyModule(ReplayModule):
    """Critics learn from everything that has been collected, and the actor from the critics.

    A critic's target is r_1 + ... + gamma^(k-1) r_k + gamma^k min_i Q_i'(s_k, a'), where Q' are slowly following copies
    of the critics, k is `n_step` or less where an episode ends, and what follows a termination is worth nothing; after
    a truncation it is worth what Q' says. Which actions a' are, and what the actor minimises, `objective` decides.

    In the first `warmup_iterations` the start policy only collects (Zhou et al. 2024, WSRL): a new critic knows nothing
    of a policy that is good already, and would undo it. What the critics learn of these iterations, `warmup` decides.
    Iterations in which the data are offline come before them, and train everything.

    The optimiser's arguments are documented in `IterationModule`.

    Args:
        obs_dim: numbers per observation; taken from the environment.
        action_dim: numbers per action; taken from the environment.
        objective: what the actor learns from action values.
        policy: the policy to start from: a zoo name such as `pickcube/weak`, or a policy or checkpoint file; `null`
            starts from scratch.
        actor: how to build the actor when there is no `policy`.
        inject_from: zoo policy, policy file or checkpoint that gives a part of its actor to the actor of the start.
        inject: which part: `encoder`, `action_head`, `both` of them, or the `full` actor with its standard deviation.
        residual: makes the start policy the base of an actor that corrects it, a `ResidualActor`; what is injected goes
            into the base.
        residual_steps: env steps over which the probability that a collected action is corrected rises from 0 to 1; 0
            corrects all of them.
        critic: how to build the ensemble of critics.
        conservative: has the critics say little of actions that the data do not have.
        reward_mode: of the environment; taken from it.
        gamma: discount per env step.
        n_step: env steps whose rewards a target has.
        bootstrap_at_done: which ends of an episode have something that follows. `truncation`: those by the time limit.
            `always`: also those by termination, so that a dense reward does not pay more for waiting than for a success
            that ends the episode (the default of ManiSkill's SAC).
        num_targets: critics, drawn anew for every gradient step, whose smallest value is a target's; `null` takes all
            (Chen et al. 2021, REDQ).
        polyak: how far the copies follow at every gradient step.
        actor_interval: gradient steps of the critics for one of the actor.
        warmup_iterations: of those that collect the first ones, in which the policy does not change.
        warmup: what the critics learn in them: `returns` fits them to the returns of the episodes that have ended;
            `collect` makes no gradient step, as WSRL, whose critics come from offline RL.
        exploration: standard deviations of the noise around the mode, rising over the environments from the first to
            the second, which one environment alone has; an objective with a stochastic actor of its own has no use for
            it.
        final_exploration: what they are multiplied by after `exploration_steps`; in between it falls linearly.
        exploration_steps: env steps.
        critic_learning_rate: of the critics' Adam.
    """

    critic: QEnsemble
    action_low: Tensor  # [A]
    action_high: Tensor  # [A]

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        objective: ActorObjective,
        policy: Start[PolicyName | None] = None,
        actor: Start[Callable[[int, int], Actor]] = GaussianActor,
        inject_from: Start[PolicyName | None] = None,
        inject: Start[Inject] = "none",
        residual: Start[Callable[[Actor], ResidualActor] | None] = None,
        residual_steps: int = 0,
        critic: Callable[[int, int], QEnsemble] = QEnsemble,
        conservative: Conservative | None = None,
        reward_mode: str | None = None,
        gamma: float = 0.97,
        n_step: int = 3,
        bootstrap_at_done: ReplayBootstrap = "truncation",
        num_targets: int | None = None,
        polyak: float = 0.01,
        actor_interval: int = 2,
        warmup_iterations: int = 1,
        warmup: Warmup = "returns",
        exploration: tuple[float, float] = (0.0, 0.25),
        final_exploration: float = 0.2,
        exploration_steps: int = 50_000,
        learning_rate: float = 2e-4,
        critic_learning_rate: float = 5e-4,
        learning_rate_factors: dict[str, float] | None = None,
        learning_rate_warmup: int = 0,
        anneal_lr: NeedsLength[bool] = False,
        max_grad_norm: float = 10.0,
        on_bad_numbers: OnBadNumbers = "stop",
    ) -> None:
        super().__init__(
            learning_rate, learning_rate_factors, learning_rate_warmup, anneal_lr, max_grad_norm, on_bad_numbers
        )
        finite = 0 <= critic_learning_rate < float("inf")
        require(finite, "model.critic_learning_rate", critic_learning_rate, "at least 0 and finite")
        check_learning(gamma, n_step, polyak, warmup_iterations)
        require(
            num_targets is None or num_targets >= 1, "model.num_targets", num_targets, "at least 1, or null for all"
        )
        require(actor_interval >= 1, "model.actor_interval", actor_interval, "at least 1")
        rising = 0 <= exploration[0] <= exploration[1] < float("inf")
        require(rising, "model.exploration", list(exploration), "two numbers that do not fall, at least 0 and finite")
        right = 0 <= final_exploration < float("inf")
        require(right, "model.final_exploration", final_exploration, "at least 0 and finite")
        require(exploration_steps >= 1, "model.exploration_steps", exploration_steps, "at least 1")
        self.objective, self.conservative = objective, conservative
        self.policy = start_name(policy, inject_from, inject)
        self._check_residual(residual is not None, residual_steps)
        if bootstrap_at_done == "always" and warmup_iterations and warmup == "returns":
            raise UserError(
                "model.bootstrap_at_done is always, but model.warmup returns fits the critics to returns that end with "
                "the episode; set model.warmup collect, or model.warmup_iterations 0."
            )
        self.actor = start_actor(policy, actor, obs_dim, action_dim)
        self.notes += inject_part(self.actor, inject_from, inject)
        if residual is not None:
            self.actor = residual(self.actor)
        self._check_abilities()
        self.critic = critic(obs_dim, action_dim)
        right = num_targets is None or num_targets <= self.critic.num_critics
        require(right, "model.num_targets", num_targets, f"at most {self.critic.num_critics}, the number of critics")
        self.start, self.target_actor = frozen_copy(self.actor), frozen_copy(self.actor)
        self.target = frozen_copy(self.critic)
        for name, bound in (("action_low", -1.0), ("action_high", 1.0)):
            self.register_buffer(name, torch.full((action_dim,), bound), persistent=False)
        self.reward_mode = reward_mode
        self.gamma, self.n_step, self.num_targets, self.polyak = gamma, n_step, num_targets, polyak
        self.actor_interval, self.warmup_iterations, self.warmup = actor_interval, warmup_iterations, warmup
        self.residual_steps, self.bootstrap_at_done = residual_steps, bootstrap_at_done
        self.exploration, self.final_exploration = exploration, final_exploration
        self.exploration_steps = exploration_steps
        self.critic_learning_rate = critic_learning_rate

    def _check_residual(self, has_residual: bool, steps: int) -> None:
        require(steps >= 0, "model.residual_steps", steps, "at least 0")
        if has_residual and self.policy is None:
            raise UserError("model.residual corrects a start policy, but model.policy is null.")
        if steps and not (has_residual and self.objective.explores_itself):
            raise UserError(
                f"model.residual_steps is {steps}, which is of use only with a model.residual and an objective whose "
                "actor explores itself, as EntropyRegularised."
            )

    def _check_abilities(self) -> None:
        """Refuses an actor that cannot do what is asked of it."""
        asking: dict[str, ActorObjective | Conservative | None] = {
            "objective": self.objective,
            "conservative": self.conservative,
        }
        for setting, part in asking.items():
            needs = sorted(part.needs) if part is not None else []
            if lacking := [ability for ability in needs if not self.actor.can(ability)]:
                kind, name = type(self.actor).__name__, type(part).__name__
                raise UserError(f"model.{setting} {name} needs {' and '.join(lacking)}, which {kind} does not define.")

    def critic_info(self) -> dict[str, Any] | None:
        """Of the actions of the policy that is trained with it."""
        return {
            "policy": OWN,
            "states": OWN,
            "gamma": self.gamma,
            "reward_mode": self.reward_mode,
            "reward_scale": self.source.reward_scale if isinstance(self.source, ReplaySource) else 1.0,
            "bootstrap_at_done": self.bootstrap_at_done,
            "estimator": type(self).__name__,
        }

    def network_rates(self) -> dict[str, float]:
        """Actor and temperature learn at one rate, the critics at theirs."""
        own = {"objective": self.learning_rate} if any(True for _ in self.objective.parameters()) else {}
        return {"actor": self.learning_rate, "critic": self.critic_learning_rate, **own}

    def clipped_apart(self) -> Sequence[nn.Module]:
        """Actor and critics minimise losses of their own."""
        return [self.actor, self.critic]

    def setup(self, stage: str) -> None:
        """Refuses data without a replay buffer, or with returns that the critics cannot have; learns the bounds."""
        super().setup(stage)
        source = self.source
        assert isinstance(source, ReplaySource)
        assert isinstance(source, EnvSource)
        if source.normalizes_rewards and isinstance(self.critic.reading, Probability):
            raise UserError(
                "data.reward_normalization makes returns of any size, but critics with head bce have values from 0 to "
                "1; set model.critic.head mse."
            )
        self.action_low.copy_(source.rollouts.spec.action_low)
        self.action_high.copy_(source.rollouts.spec.action_high)

    # ---- collecting ----------------------------------------------------------------------------------------------

    @property
    def bounds(self) -> Bounds:
        """Of actions."""
        return Bounds(self.action_low, self.action_high)

    @property
    def collector(self) -> Actor:
        """The actor as it is, or its mode with noise, or one that does not always correct its base yet."""
        if self.env_steps < self.residual_steps:
            assert isinstance(self.actor, ResidualActor)  # the constructor refuses others
            return Gradual(self.actor, self.env_steps / self.residual_steps)
        return self.actor if self.objective.explores_itself else NoisyMode(self.actor)

    def noise_scale(self, num_envs: int) -> Tensor | None:
        """A ladder over the environments, which sinks as the run goes on."""
        if self.objective.explores_itself:
            return None
        done = min(1.0, self.env_steps / self.exploration_steps)
        lowest, highest = self.exploration
        ladder = torch.linspace(lowest, highest, num_envs) if num_envs > 1 else torch.tensor([highest])
        return ladder * (1 + (self.final_exploration - 1) * done)

    @property
    def needs_returns(self) -> bool:
        """For critics that are calibrated with them."""
        return self.conservative is not None and self.conservative.calibrated

    def begin(self, experience: Experience) -> None:
        """Standardises observations by the first ones."""
        state = experience.obs.state[experience.usable]
        for critic in (self.critic, self.target):
            critic.fit_moments(state)

    # ---- one iteration -------------------------------------------------------------------------------------------

    def training_step(self, batch: ReplayBatch | ReturnBatch, batch_idx: int) -> Tensor | None:
        """The critics' loss, now and then with the actor's."""
        reading = self.critic.reading
        target = batch.value_target if isinstance(batch, ReturnBatch) else self._target(batch)  # [B]
        target = target.clamp(reading.low, reading.high)  # the range of returns, if that is known
        outputs = self.critic.outputs(batch.obs, batch.action)  # [E, B, H]
        losses = reading.loss(outputs, target.expand(len(outputs), -1))  # [E, B]
        with torch.no_grad():
            values = reading.value(outputs)
            self.metrics.average(
                {
                    "losses/value_loss": losses.detach().mean(),
                    "charts/q_mean": values.mean(),
                    "charts/q_target_mean": target.mean(),
                    "charts/q_disagreement": values.std(0, correction=0).mean(),
                }
            )
        self.metrics.count("charts/critic_updates")
        if isinstance(batch, ReplayBatch) and self._is_conservative:
            losses = losses + self._conservative_loss(batch, reading.value(outputs))
        loss = losses.mean(1).sum()
        self._actor_steps = isinstance(batch, ReplayBatch) and batch_idx % self.actor_interval == 0
        if self._actor_steps:
            loss = loss + self._actor_loss(batch.obs)
        return loss if loss.requires_grad else None

    _actor_steps = False  # whether the running gradient step is also one of the actor

    @property
    def _is_conservative(self) -> bool:
        """Whether critics are, in the running iteration."""
        if self.conservative is None:
            return False
        offline = isinstance(self.source, ReplaySource) and self.iteration <= self.source.offline_iterations
        return offline or not self.conservative.only_offline

    def _conservative_loss(self, batch: ReplayBatch, of_data: Tensor) -> Tensor:
        """What is added to the loss of each critic, `[E, B]`; `of_data` is Q of the actions of the minibatch."""
        assert self.conservative is not None
        loss, metrics = self.conservative.loss(self.critic.values, of_data, self.actor, batch, self.bounds, self.noise)
        self.metrics.average(metrics)
        return loss

    def _actor_loss(self, obs: Obs) -> Tensor:
        noise = self._normal(len(obs), self.actor)
        loss, metrics = self.objective.loss(
            self.actor, self.start, obs, noise, self._preference, self.bounds, self.env_steps
        )
        self.metrics.average(metrics)
        self.metrics.count("charts/actor_updates")
        return loss

    def _preference(self, obs: Obs, action: Tensor) -> Tensor:
        """What the critics would have the actor climb, `[B]`; their weights get no gradient of it."""
        return self.critic.reading.preference(self.critic.outputs(obs, action, frozen=True)).mean(0)

    @torch.no_grad()
    def _target(self, batch: ReplayBatch) -> Tensor:
        """What a transition is worth, `[B]`."""
        ahead = batch.transition
        noise = self._normal(len(ahead.reward), self.target_actor)
        action, bonus = self.objective.target_action(self.target_actor, ahead.next_obs, noise, self.bounds)
        values = self.target.values(ahead.next_obs, action)  # [E, B]
        if self.num_targets is not None:
            order = torch.randperm(len(values), generator=self.noise, device=self.noise.device)
            values = values[order[: self.num_targets]]
        target: Tensor = ahead.reward + ahead.discount * (values.amin(0) + bonus)
        return target

    def _normal(self, size: int, actor: Actor) -> Tensor:
        width = max(actor.noise_dim, actor.action_dim)
        return torch.randn(size, width, generator=self.noise, device=self.noise.device)

    def after_step(self) -> None:
        """The copies follow."""
        follow(self.target, self.critic, self.polyak)
        if self._actor_steps:
            follow(self.target_actor, self.actor, self.polyak)

    @torch.no_grad()
    def _outputs(self, batch: ReplayBatch | ReturnBatch) -> dict[str, Tensor]:
        """What the networks make of a minibatch, `[B, ...]` each."""
        return {"mean_action": self.actor.mode(batch.obs), "critic": self.critic.values(batch.obs, batch.action)[0]}

    def mean_value(self, obs: Obs, action: Tensor) -> Tensor:
        """Of the critics, `[B]`."""
        return self.critic.values(obs, action).mean(0)
