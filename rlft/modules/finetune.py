"""The learner: an actor, a critic, and what the two plug-in axes make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rlft.advantage import AdvantageEstimator
from rlft.errors import UserError, require
from rlft.modules import critic_provenance
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.critic_provenance import Setting
from rlft.modules.injection import Inject, check_source, inject_part, start_actor, start_name
from rlft.modules.iteration import IterationModule
from rlft.modules.shared_networks import shared
from rlft.networks import GaussianActor, NoCritic, ValueCritic
from rlft.networks.policy_files import load_policy
from rlft.statistics.fit import calibration_slope, explained_variance, spread
from rlft.types import (
    Actor,
    AdvantageEstimate,
    Batch,
    Critic,
    Irrelevant,
    LearningRows,
    NeedsLength,
    PolicyName,
    Primitive,
    Rerollouts,
    Rollout,
    Start,
)
from rlft.update import PolicyUpdate


class FinetuneModule(IterationModule):
    """Finetunes an actor with an advantage estimator and a policy update; one epoch is one iteration.

    The optimiser's arguments are documented in `IterationModule`.

    Args:
        obs_dim: numbers per observation; taken from the environment.
        action_dim: numbers per action; taken from the environment.
        advantage: answers how good an action was.
        update: answers what to do about it.
        policy: the policy to start from: a zoo name such as `pickcube/weak`, or a policy or checkpoint file; `null`
            starts from scratch.
        actor: how to build the actor when there is no `policy`.
        inject_from: zoo policy, policy file or checkpoint that gives a part of its actor to the actor of the start; for
            critics there is `critic_policy`.
        inject: which part: `encoder`, `action_head`, `both` of them, or the `full` actor with its standard deviation.
        critic: how to build the critic.
        critic_policy: policy file whose critic to start from; `null` starts with a new critic. It must be of this run's
            start policy, discount, reward and bootstrapping.
        accept_critic_mismatch: which of these may differ, e.g. `[policy]` for an expert's critic.
        reward_mode: of the environment; taken from it.
        data_policy: whose data the run learns from, if not from that of its own policy; taken from the data.
        critic_learning_rate: of the critic, if it differs.
        max_grad_norm: the joint gradient norm of actor and critic is clipped to this; that of a critic which is only a
            diagnostic apart.
        warmup_iterations: iterations at the start that update the critic only.
    """

    advantage: AdvantageEstimator
    update: PolicyUpdate
    shareable = True

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        advantage: AdvantageEstimator,
        update: PolicyUpdate,
        policy: Start[PolicyName | None] = None,
        actor: Start[Callable[[int, int], Actor]] = GaussianActor,
        inject_from: Start[PolicyName | None] = None,
        inject: Start[Inject] = "none",
        critic: Start[Callable[[int], Critic]] = ValueCritic,
        critic_policy: Start[PolicyName | None] = None,
        accept_critic_mismatch: Irrelevant[list[Setting] | None] = None,
        reward_mode: str | None = None,
        data_policy: str | None = None,
        learning_rate: float = 3e-4,
        critic_learning_rate: float | None = None,
        learning_rate_factors: dict[str, float] | None = None,
        learning_rate_warmup: int = 0,
        anneal_lr: NeedsLength[bool] = False,
        max_grad_norm: float = 0.5,
        warmup_iterations: int = 0,
        on_bad_numbers: OnBadNumbers = "stop",
    ) -> None:
        super().__init__(
            learning_rate, learning_rate_factors, learning_rate_warmup, anneal_lr, max_grad_norm, on_bad_numbers
        )
        check_source(inject_from, inject)
        self.advantage = advantage
        self.update = update
        self.critic_policy = critic_policy
        self.critic_learning_rate = learning_rate if critic_learning_rate is None else critic_learning_rate
        self.warmup_iterations = warmup_iterations
        self._check_together()
        advantage.check(obs_dim, action_dim)
        self.reward_mode = reward_mode
        self.policy = start_name(policy, inject_from, inject)
        self.data_policy = data_policy or self.policy
        self.accept_critic_mismatch = accept_critic_mismatch or []
        own = start_actor(policy, actor, obs_dim, action_dim)
        self.notes += inject_part(own, inject_from, inject)
        self.actor = update.adapt(own)
        update.check_actor(self.actor)
        self.critic: Critic = NoCritic()
        if advantage.wants_critic:
            start = self._start_critic(critic, obs_dim)
            self.critic = advantage.adapt(start, obs_dim, action_dim)
        self._actor_stopped = False  # the update has asked to leave the actor alone for the rest of the iteration

    def _check_together(self) -> None:
        """Refuses arguments that are wrong in any environment, before the first of one is needed."""
        rate, warmup, kind = self.critic_learning_rate, self.warmup_iterations, type(self.advantage).__name__
        require(0 <= rate < float("inf"), "model.critic_learning_rate", rate, "at least 0 and finite")
        require(warmup >= 0, "model.warmup_iterations", warmup, "at least 0")
        if not self.advantage.wants_critic and (warmup or self.critic_policy):
            name = "warmup_iterations" if warmup else "critic_policy"
            raise UserError(f"model.{name} is of no use: {kind} as configured has no critic.")
        if not (self.update.trains_actor or self.advantage.wants_critic):
            raise UserError(f"model.update trains only the critic, but model.advantage {kind} as configured has none.")

    def _start_critic(self, build: Callable[[int], Critic], obs_dim: int) -> Critic:
        name = self.critic_policy
        if name is None:
            return build(obs_dim)
        file = load_policy(name)
        critic = file.critic
        if critic is None:
            raise UserError(f"model.critic_policy {name!r} holds no critic; leave it out to start with a new one.")
        if critic.obs_dim != obs_dim:
            raise UserError(
                f"The critic of {name!r} takes {critic.obs_dim} observations, but the task has {obs_dim} observations."
            )
        found = file.info.get("critic") or {}
        wanted = critic_provenance.value_of(self.advantage, self.reward_mode, self.data_policy)
        own = name == self.policy and found.get("policy") == critic_provenance.OWN
        if own:
            wanted["policy"] = critic_provenance.OWN
        critic_provenance.check(name, found, wanted, self.accept_critic_mismatch)
        self.critic_of = self.policy if own else found.get("policy")
        return critic

    def critic_info(self) -> dict[str, Any] | None:
        """What this run's critic, if there is one, is a value of; goes into its policy files."""
        if not self.advantage.wants_critic:
            return None
        policy = critic_provenance.OWN if self.update.trains_actor else self.data_policy
        return critic_provenance.value_of(self.advantage, self.reward_mode, policy)

    @property
    def trains_actor(self) -> bool:
        """Whether the policy changes."""
        return self.update.trains_actor

    def network_rates(self) -> dict[str, float]:
        """The critic may have a learning rate of its own."""
        return {"actor": self.learning_rate, "critic": self.critic_learning_rate}

    def clipped_apart(self) -> Sequence[nn.Module]:
        """Of everything that is learning the gradient norm is a joint one, but a diagnostic critic has its own."""
        return [self.actor, self.critic] if self.advantage.critic_is_diagnostic else [self]

    # ---- rollouts ------------------------------------------------------------------------------------------------

    @property
    def collector(self) -> Actor:
        """The policy that acts in rollouts."""
        return self.actor

    @property
    def needs_visited(self) -> bool:
        """Whether the estimator goes back to the simulator's states."""
        return self.advantage.needs_visited

    @property
    def fewest_envs(self) -> int:
        """Environments that the estimator needs side by side."""
        return self.advantage.fewest_envs

    @property
    def relabels(self) -> bool:
        """Whether advantages change as the critic learns."""
        return self.advantage.wants_critic and not self.advantage.critic_is_diagnostic

    @torch.no_grad()
    def to_rows(
        self, rollout: Rollout, rerollouts: Rerollouts, labels: AdvantageEstimate | None = None
    ) -> LearningRows:
        """Advantages, unless they are known and still good, and the update's signal of them."""
        self._check_log_prob(rollout)
        if labels is None or self.relabels:
            labels = self.advantage.estimate(rollout, self.critic, rerollouts)
            labels = dataclasses.replace(labels, mask=self.usable(rollout, labels))
        batch = Batch(
            obs=rollout.obs,
            action=rollout.action,
            log_prob=rollout.log_prob,
            signal=self._signal(labels),
            value=labels.value,
            value_target=labels.value_target,
        )
        return LearningRows(self.advantage.extend(batch, rollout), labels.mask, labels)

    def _check_log_prob(self, rollout: Rollout) -> None:
        """Refuses to compare the actor with a policy of which nobody knows how likely its actions were."""
        if self.trains_actor and self.actor.can("log_prob") and not bool(rollout.log_prob_known.all()):
            raise UserError(
                f"The data do not say how likely their actions were, but model.actor {type(self.actor).__name__} "
                "defines log_prob and learns by it; its act must return log_prob, too."
            )

    def _signal(self, labels: AdvantageEstimate) -> Tensor:
        """What the update makes of advantages, `[T, N]`; what there is to say of both is logged."""
        signal, signal_metrics = self.update.signal(labels)
        known = labels.advantage[labels.mask]
        self.add_metrics(
            {
                **labels.metrics,
                **signal_metrics,
                "charts/advantage_mean": float(known.mean()),
                "charts/advantage_std": spread(known),
                "charts/advantage_positive_ratio": float((known > 0).float().mean()),
            }
        )
        return signal

    def data_settings(self) -> dict[str, Primitive]:
        """The start policy, the estimator, and the critic if it has a part in advantages that are measured once."""
        labels = {f"advantage.{name}": value for name, value in self.advantage.label_settings().items()}
        critic = {"advantage.critic_policy": self.critic_policy or "new"} if self.advantage.labels_with_critic else {}
        return {**super().data_settings(), **labels, **critic}

    # ---- one iteration -------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Begins an iteration."""
        super().on_train_epoch_start()
        self._actor_stopped = False

    @property
    def _critic_stops_too(self) -> bool:
        return self.update.kl_stop_scope == "both" or not self.advantage.wants_critic

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        """Ends the iteration (-1) when neither network has anything left to learn from it."""
        super().on_train_batch_start(batch, batch_idx)
        return -1 if self._actor_stopped and self._critic_stops_too else None

    def training_step(self, batch: Batch) -> Tensor | None:
        """Sum of the actor's and the critic's loss on a minibatch, or `None` if nothing is to be learned."""
        loss, metrics = self.advantage.critic_loss(shared(self.critic), batch)
        critic_learns = loss.requires_grad
        if self.current_epoch >= self.warmup_iterations and not self._actor_stopped:
            actor_loss, actor_metrics = self.update.actor_loss(shared(self.actor), batch)
            metrics |= actor_metrics
            self._actor_stopped = self.update.exceeds_target_kl(actor_metrics)
            if not self._actor_stopped:
                loss = loss + actor_loss
                if actor_loss.requires_grad:
                    self.metrics.count("charts/actor_updates")
        self.metrics.average(metrics)
        if self._actor_stopped and self._critic_stops_too:
            return None
        if not loss.requires_grad:  # all that could learn is frozen
            return None
        if critic_learns:
            self.metrics.count("charts/critic_updates")
        return loss

    def after_step(self) -> None:
        """What estimator and update do to their networks after a gradient step."""
        self.advantage.after_step(self.critic)
        if self.current_epoch >= self.warmup_iterations:
            self.update.project(self.actor)

    def _validate(self, held_out: Batch) -> dict[str, float]:
        """How well what is learned fits transitions that never train."""
        weights, metrics = self.evaluated(), {}
        if self.update.trains_actor:
            metrics["losses/validation_policy_loss"] = float(self.update.actor_loss(weights.actor, held_out)[0])
        if self.advantage.wants_critic:
            value, target = weights.critic(held_out.obs), held_out.value_target  # [M]
            _, losses = self.advantage.critic_loss(weights.critic, held_out)
            metrics |= {name.replace("/", "/validation_"): float(loss) for name, loss in losses.items()}
            metrics |= {
                "losses/validation_explained_variance": explained_variance(value, target),
                "charts/calibration_slope": calibration_slope(value, target),
                "charts/value_bias": float((value - target).mean()),
                "charts/value_target_mean": float(target.mean()),
            }
        return metrics

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What the update sets besides weights is that of this configuration."""
        super().on_load_checkpoint(checkpoint)
        for state in (checkpoint["state_dict"], checkpoint.get("current_model_state", {})):
            for name, setting in self.actor.named_buffers(prefix="actor"):  # weights are parameters
                if name in state:
                    state[name] = setting
