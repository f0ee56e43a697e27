"""The learner: an actor, a critic, and what the two plug-in axes make of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor

from rlft.advantage import AdvantageEstimator
from rlft.advantage.base import calibration_slope, explained_variance
from rlft.errors import UserError
from rlft.metrics import IterationMetrics, log_metrics
from rlft.modules import critic_provenance
from rlft.modules.critic_provenance import Setting
from rlft.networks import GaussianActor, NoCritic, ValueCritic
from rlft.policies import check_shapes, load_policy
from rlft.types import Actor, AdvantageEstimate, Batch, Critic, Rerollouts, Rollout, Transition
from rlft.update import PolicyUpdate


class FinetuneModule(lightning.LightningModule):
    """Finetunes an actor with an advantage estimator and a policy update; one epoch is one iteration.

    Args:
        obs_dim: numbers per observation; taken from the environment.
        action_dim: numbers per action; taken from the environment.
        advantage: answers how good an action was.
        update: answers what to do about it.
        policy: the policy to start from: a zoo name such as `pickcube/weak`, or a policy or checkpoint file; `null`
            starts from scratch.
        actor: how to build the actor when there is no `policy`.
        critic: how to build the critic.
        critic_policy: policy file whose critic to start from; `null` starts with a new critic. It must be of this run's
            start policy, discount, reward and bootstrapping.
        accept_critic_mismatch: which of these may differ, e.g. `[policy]` for an expert's critic.
        reward_mode: of the environment; taken from it.
        data_policy: whose data the run learns from, if not from that of its own policy; taken from the data.
        learning_rate: of Adam.
        critic_learning_rate: of the critic, if it differs.
        anneal_lr: lower the learning rates linearly to 0 over the run.
        max_grad_norm: the joint gradient norm of actor and critic is clipped to this; that of a critic which is only a
            diagnostic apart.
        warmup_iterations: iterations at the start that update the critic only.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        advantage: AdvantageEstimator,
        update: PolicyUpdate,
        policy: str | None = None,
        actor: Callable[[int, int], Actor] = GaussianActor,
        critic: Callable[[int], Critic] = ValueCritic,
        critic_policy: str | None = None,
        accept_critic_mismatch: list[Setting] | None = None,
        reward_mode: str | None = None,
        data_policy: str | None = None,
        learning_rate: float = 3e-4,
        critic_learning_rate: float | None = None,
        anneal_lr: bool = False,
        max_grad_norm: float = 0.5,
        warmup_iterations: int = 0,
    ) -> None:
        super().__init__()
        for name, rate in (("learning_rate", learning_rate), ("critic_learning_rate", critic_learning_rate)):
            if rate is not None and not rate >= 0:
                raise UserError(f"model.{name} is {rate}; it must be at least 0.")
        if not max_grad_norm > 0:
            raise UserError(f"model.max_grad_norm is {max_grad_norm}; it must be above 0.")
        if not advantage.wants_critic and (warmup_iterations or critic_policy):
            name = "warmup_iterations" if warmup_iterations else "critic_policy"
            raise UserError(f"model.{name} is of no use: {type(advantage).__name__} as configured has no critic.")
        advantage.check(obs_dim, action_dim)
        self.reward_mode = reward_mode
        self.data_policy = data_policy or policy
        if not (update.trains_actor or advantage.wants_critic):
            kind = type(advantage).__name__
            raise UserError(f"model.update trains only the critic, but model.advantage {kind} as configured has none.")
        self.policy = policy
        self.critic_policy = critic_policy
        self.accept_critic_mismatch = accept_critic_mismatch or []
        self.advantage = advantage
        self.update = update
        self.actor = update.adapt(self._start_actor(policy, actor, obs_dim, action_dim))
        self.critic: Critic = NoCritic()
        if advantage.wants_critic:
            start = self._start_critic(critic, obs_dim)
            self.critic = advantage.adapt(start, obs_dim, action_dim)
        self.learning_rate = learning_rate
        self.critic_learning_rate = learning_rate if critic_learning_rate is None else critic_learning_rate
        self.anneal_lr = anneal_lr
        self.max_grad_norm = max_grad_norm
        self.warmup_iterations = warmup_iterations
        self.env_steps = 0  # collected since the run began
        self.sim_steps = 0  # simulated since the run began: collected and re-rollouts, not evaluation
        self.iteration = 0  # the running one, from 1; 0 before the first of this process
        self.fixed_data = False  # every iteration has the same data; set by the data module
        self.held_out: Batch | None = None  # transitions that never train; set by the data module
        self.evaluated: Callable[[], FinetuneModule] = lambda: self  # whose weights are evaluated and exported
        self.metrics = IterationMetrics()
        self._actor_stopped = False  # the update has asked to leave the actor alone for the rest of the iteration
        self._validated = False  # the iteration's validation is among its metrics
        self._clock, self._steps_before = time.perf_counter(), 0  # when the iteration began, and at which env step

    @staticmethod
    def _start_actor(name: str | None, build: Callable[[int, int], Actor], obs_dim: int, action_dim: int) -> Actor:
        if name is None:
            return build(obs_dim, action_dim)
        policy = load_policy(name)
        check_shapes(policy, obs_dim, action_dim)
        return policy.actor

    def _start_critic(self, build: Callable[[int], Critic], obs_dim: int) -> Critic:
        name = self.critic_policy
        if name is None:
            return build(obs_dim)
        file = load_policy(name)
        critic = file.critic
        if critic is None:
            raise UserError(f"model.critic_policy {name!r} holds no critic; leave it out to start with a new one.")
        width = critic.state_dict()["value.0.weight"].shape[1]
        if width != obs_dim:
            raise UserError(
                f"The critic of {name!r} takes {width} observations, but the task has {obs_dim} observations."
            )
        found = file.info.get("critic") or {}
        wanted = critic_provenance.value_of(self.advantage, self.reward_mode, self.data_policy)
        if name == self.policy and found.get("policy") == critic_provenance.OWN:
            wanted["policy"] = critic_provenance.OWN
        critic_provenance.check(name, found, wanted, self.accept_critic_mismatch)
        return critic

    def critic_info(self) -> dict[str, Any] | None:
        """What this run's critic, if there is one, is a value of; goes into its policy files."""
        if not self.advantage.wants_critic:
            return None
        policy = critic_provenance.OWN if self.update.trains_actor else self.data_policy
        return critic_provenance.value_of(self.advantage, self.reward_mode, policy)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam with a group for the actor and one for the critic."""
        groups = [
            {"params": list(self.actor.parameters()), "lr": self.learning_rate, "name": "actor"},
            {"params": list(self.critic.parameters()), "lr": self.critic_learning_rate, "name": "critic"},
        ]
        # One kernel for the whole step: a third of the time of the default on a CPU. It would unscale the gradients of
        # half precision only after they have been clipped.
        return torch.optim.Adam(groups, eps=1e-5, fused=self.trainer.precision != "16-mixed")

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clips the joint norm of everything that is learning; a diagnostic critic's on its own."""
        for network in (self.actor, self.critic) if self.advantage.critic_is_diagnostic else (self,):
            if parameters := list(network.parameters()):  # torch warns of none, and `NoCritic` has none
                torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    # ---- one iteration -------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Begins an iteration: fresh metrics, learning rates of the schedule."""
        self.metrics.clear()
        self.iteration = self.current_epoch + 1
        self._clock, self._steps_before = time.perf_counter(), self.env_steps
        self._actor_stopped = self._validated = False
        optimizer = self.trainer.optimizers[0]
        remaining = 1 - self.current_epoch / (self.trainer.max_epochs or 1) if self.anneal_lr else 1.0
        rates = {"actor": self.learning_rate, "critic": self.critic_learning_rate}
        for group in optimizer.param_groups:
            group["lr"] = remaining * rates[group["name"]]
            self.metrics.set({f"charts/learning_rate/{group['name']}": group["lr"]})

    @property
    def needs_visited(self) -> bool:
        """Whether `prepare` needs the simulator's states."""
        return self.advantage.needs_visited

    @torch.no_grad()
    def prepare(self, rollout: Rollout, rerollouts: Rerollouts) -> tuple[AdvantageEstimate, Tensor]:
        """Advantages of a new rollout and the update's signal `[T, N]`; called by the data module."""
        estimate = self.estimate(rollout, rerollouts)
        self.env_steps += rollout.reward.numel()
        self.sim_steps += rollout.reward.numel() + rerollouts.sim_steps
        return estimate, self.signal(estimate)

    @property
    def estimates_with_critic(self) -> bool:
        """Whether advantages change as the critic learns."""
        return self.advantage.wants_critic and not self.advantage.critic_is_diagnostic

    @torch.no_grad()
    def estimate(self, rollout: Rollout, rerollouts: Rerollouts) -> AdvantageEstimate:
        """Advantages of a rollout, with the critic as it is now; called by the data module."""
        return self.advantage.estimate(rollout, self.critic, rerollouts)

    def transition(self, rollout: Rollout) -> Transition:
        """What the critic's loss needs of a rollout's successors, `[T, N]`; called by the data module."""
        return self.advantage.transition(rollout)

    @torch.no_grad()
    def signal(self, estimate: AdvantageEstimate) -> Tensor:
        """The update's signal `[T, N]` for advantages that are known already; called by the data module."""
        signal, signal_metrics = self.update.signal(estimate)
        known = estimate.advantage[estimate.mask]
        self.metrics.set(
            {
                **estimate.metrics,
                **signal_metrics,
                "charts/advantage_mean": float(known.mean()),
                "charts/advantage_std": float(known.std()),
                "charts/advantage_positive_ratio": float((known > 0).float().mean()),
            }
        )
        return signal

    def add_metrics(self, metrics: dict[str, float]) -> None:
        """Takes numbers to log with this iteration; called by the data module."""
        self.metrics.set(metrics)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        """Ends the iteration (-1) when neither network has anything left to learn from it."""
        return -1 if self._actor_stopped and self._critic_stops_too else None

    @property
    def _critic_stops_too(self) -> bool:
        return self.update.kl_stop_scope == "both" or not self.advantage.wants_critic

    def training_step(self, batch: Batch) -> Tensor | None:
        """Sum of the actor's and the critic's loss on a minibatch, or `None` if nothing is to be learned."""
        loss, metrics = self.advantage.critic_loss(self.critic, batch)
        critic_learns = loss.requires_grad
        if self.current_epoch >= self.warmup_iterations and not self._actor_stopped:
            actor_loss, actor_metrics = self.update.actor_loss(self.actor, batch)
            metrics |= actor_metrics
            self._actor_stopped = self.update.wants_to_stop(actor_metrics)
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

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A gradient step, then what estimator and update do to their networks before any callback sees them."""
        super().optimizer_step(*args, **kwargs)
        with torch.no_grad():
            self.advantage.after_step(self.critic)
            if self.current_epoch >= self.warmup_iterations:
                self.update.project(self.actor)

    def validation_step(self, batch: int) -> None:
        """Evaluation is a callback's work; Lightning wants this method to exist."""

    def on_train_epoch_end(self) -> None:
        """Logs the iteration."""
        log_metrics(self.trainer, self.iteration_metrics(), self.x_axis)

    @torch.no_grad()
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

    @property
    def x_axis(self) -> int:
        """What metrics are logged against: env steps, or iterations where all of them have the same data."""
        return self.iteration if self.fixed_data else self.env_steps

    def iteration_metrics(self) -> dict[str, float]:
        """Everything known about the current iteration; asked for when its last update has been made."""
        if self.held_out is not None and not self._validated:
            self.metrics.set(self._validate(self.held_out))
            self._validated = True
        metrics = self.metrics.compute()
        seconds = time.perf_counter() - self._clock
        steps = self.env_steps - self._steps_before
        training = seconds - metrics.get("time/eval", 0.0)
        return metrics | {
            "steps/env": self.env_steps,
            "steps/sim": self.sim_steps,
            "time/iteration": seconds,
            "time/update": training - metrics.get("time/rollout", 0.0) - metrics.get("time/rerollout", 0.0),
            "charts/SPS": steps / training,
        }

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the step counts."""
        checkpoint["env_steps"], checkpoint["sim_steps"] = self.env_steps, self.sim_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the step counts; what the update sets besides weights is that of this configuration."""
        for state in (checkpoint["state_dict"], checkpoint.get("current_model_state", {})):
            for name, setting in self.actor.named_buffers(prefix="actor"):  # weights are parameters
                if name in state:
                    state[name] = setting
        self.env_steps, self.sim_steps = checkpoint["env_steps"], checkpoint["sim_steps"]
