"""What every module does around its gradient steps: iterations, metrics, bad numbers, checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import lightning
import torch
from torch import Tensor, nn

from rlft.advantage import AdvantageEstimator
from rlft.errors import UserError, require
from rlft.learners import place
from rlft.modules import optimizer_state
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.metrics import IterationMetrics, log_metrics
from rlft.modules.number_watch import NumberWatch
from rlft.modules.optimisation import Optimisation, gradients_of
from rlft.modules.record import Began, IterationRecord, with_costs
from rlft.modules.source import source_of
from rlft.networks.policy_checks import check_pictures
from rlft.networks.policy_files import NETWORKS, describe_networks
from rlft.types import (
    AdvantageEstimate,
    Critic,
    DataSource,
    EnvSource,
    Learner,
    Primitive,
    Rollout,
    Steps,
    generator_at,
)
from rlft.update import PolicyUpdate


class IterationModule(lightning.LightningModule, Learner, ABC):
    """A module whose epochs are iterations: an actor, maybe a critic, one Adam, metrics once per iteration.

    An iteration ends with its record: everybody who logs, shows, keeps or decides by its numbers takes them from
    there (`finish_iteration`). Callbacks add theirs before (`add_metrics`), or, once the run has ended, explicitly
    afterwards (`amend_record`).

    NaN and infinity are noticed in a new rollout and its advantages, before anything is learned from them; in the loss
    and the gradients of a minibatch, before its gradient step; in the weights, before they are evaluated and saved. It
    costs one synchronisation of the device per gradient step. In half precision the gradients are left to Lightning's
    scaler, which expects infinite ones now and then, and makes no step with them.

    Args:
        learning_rate: of Adam.
        learning_rate_factors: multiplies the learning rate of submodules, by name or glob: `{actor.encoder: 0.1}`.
        learning_rate_warmup: gradient steps over which the learning rates rise linearly from 0: that of the i-th step
            of Adam with the moments it has, from 0, is multiplied by i / learning_rate_warmup. Adam's first steps are
            as long as the learning rate in every weight, whatever the gradient, and a KL stop may end the iteration
            with one of them (docs/gae_ppo.md).
        anneal_lr: lower the learning rates linearly to 0 over the run.
        max_grad_norm: the joint gradient norm is clipped to this.
        on_bad_numbers: NaN or infinity in data, loss or gradients: `stop` ends the run, `skip` learns without them and
            counts them. Weights that are not finite always end it.
    """

    critic: Critic
    policy: str | None  # who acts at first, by name; `None` for a new policy
    advantage: AdvantageEstimator | None = None  # if actions are judged
    update: PolicyUpdate | None = None  # if that is what the actor learns from
    warmup_iterations: int = 0  # at the start, that update the critic only
    unused: frozenset[str] = frozenset()  # constructor arguments that mean nothing with the data of this run

    def __init__(
        self,
        learning_rate: float,
        learning_rate_factors: dict[str, float] | None,
        learning_rate_warmup: int,
        anneal_lr: bool,
        max_grad_norm: float,
        on_bad_numbers: OnBadNumbers,
    ) -> None:
        super().__init__()
        rates = {"learning_rate": learning_rate}
        rates |= {f"learning_rate_factors {name}": factor for name, factor in (learning_rate_factors or {}).items()}
        for name, rate in rates.items():
            require(0 <= rate < float("inf"), f"model.{name}", rate, "at least 0 and finite")
        require(learning_rate_warmup >= 0, "model.learning_rate_warmup", learning_rate_warmup, "at least 0")
        require(max_grad_norm > 0, "model.max_grad_norm", max_grad_norm, "above 0")
        self.learning_rate = learning_rate
        self.max_grad_norm = max_grad_norm
        self._watch = NumberWatch(self, on_bad_numbers, self._outputs)
        factors = learning_rate_factors or {}
        self.optimisation = Optimisation(self, self.network_rates, factors, learning_rate_warmup, anneal=anneal_lr)
        self.restarts_optimizer = False  # a resumed run forgets Adam's moments
        self.iteration = 0  # the running one, from 1; 0 before the first of this process
        self.critic_of: str | None = None  # whose value the critic is that the run starts with, if it is pretrained
        self.notes: list[str] = []  # what the report says of the start: a sentence or two each
        self.metrics = IterationMetrics()
        self._averaged: Callable[[], Self] | None = None  # no module: that would become a submodule
        self._clipped: list[list[nn.Parameter]] = []  # with a gradient norm each, in the running iteration
        self.noise = torch.Generator()  # of the gradient steps of the running iteration, addressed by it
        self._record: IterationRecord | None = None
        self._began = Began.now(Steps())  # of the running iteration

    @property
    @abstractmethod
    def trains_actor(self) -> bool:
        """Whether the policy changes, so that evaluating it again is worth the time."""

    @abstractmethod
    def critic_info(self) -> dict[str, Any] | None:
        """What the critic, if there is one, is a value of; goes into policy files."""

    @abstractmethod
    def _validate(self, held_out: Any) -> dict[str, float]:
        """How well what is learned fits transitions that never train."""

    # ---- what the data say ---------------------------------------------------------------------------------------

    @property
    def source(self) -> DataSource:
        """The data module of the run."""
        return source_of(self.trainer, type(self).__name__)

    @property
    def env_steps(self) -> int:
        """Collected since the run began."""
        return self.source.steps.env

    @property
    def x_axis(self) -> int:
        """What metrics are logged against: env steps, or iterations where all of them have the same data."""
        return self.iteration if self.source.fixed else self.env_steps

    def usable(self, rollout: Rollout, labels: AdvantageEstimate | None = None) -> Tensor:
        """Which transitions, `[T, N]` bool, to learn from: bad numbers are left out and counted, or end the run."""
        good, bad = self._watch.usable(rollout, labels)
        if bad:
            self.metrics.count("charts/bad_rows", bad)  # of all rollouts of the iteration
        return good

    def data_settings(self) -> dict[str, Primitive]:
        """Who acts."""
        return {"policy": self.policy or "scratch"}

    # ---- what is evaluated ---------------------------------------------------------------------------------------

    def evaluated(self) -> Self:
        """The module whose weights are evaluated and exported: itself, unless a callback averages them."""
        return self if self._averaged is None else self._averaged()

    def evaluate_instead(self, weights: Callable[[], Self]) -> None:
        """Has other weights evaluated and exported than those that learn."""
        self._averaged = weights

    # ---- gradient steps ------------------------------------------------------------------------------------------

    def network_rates(self) -> dict[str, float]:
        """Learning rate of each network that learns, by the name of its submodule."""
        return {"actor": self.learning_rate, "critic": self.learning_rate}

    def clipped_apart(self) -> Sequence[nn.Module]:
        """The networks that have gradient norms of their own; by default everything that learns has a joint one."""
        return [self]

    def after_step(self) -> None:
        """What follows a gradient step before any callback sees the weights; called without gradients."""

    def setup(self, stage: str) -> None:
        """Refuses names of submodules that do not exist, data that say nothing, pictures of other sizes, strangers."""
        if self.trainer.world_size != place().count:
            raise UserError(
                "Lightning's own strategies for several devices do not share a run's environments; `rlft fit` with "
                "--trainer.devices does, from Python a Trainer has 1 device."
            )
        self.optimisation.check_names()
        source = source_of(self.trainer, type(self).__name__)
        if isinstance(source, EnvSource):
            for name, network in (("actor", self.actor), ("critic", self.critic)):
                check_pictures(network, source.rollouts.spec, f"model.{name}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam."""
        # One kernel for the whole step: a third of the time of the default on a CPU. It would unscale the gradients of
        # half precision only after they have been clipped.
        return self.optimisation.adam(self.learning_rate, fused=self.trainer.precision != "16-mixed")

    def on_before_backward(self, loss: Tensor) -> None:
        """Has the loss watched."""
        self._watch.keep_loss(loss)

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clips the gradient norms; with numbers that are not finite there will be no gradient step."""
        gradients = gradients_of(self._clipped)
        # In half precision infinite gradients are the scaler's business.
        watched = gradients if self.trainer.precision != "16-mixed" else []
        if not self._watch.is_good_step([part.norm for part in watched]):
            optimizer.zero_grad()  # without gradients Adam touches neither weights nor moments
            return
        for part in gradients:
            part.clip(self.max_grad_norm)

    @torch.no_grad()
    def _outputs(self, batch: Any) -> dict[str, Tensor]:
        """What the networks make of a minibatch, `[B, ...]` each."""
        return {"mean_action": self.actor.mode(batch.obs), "critic": self.critic(batch.obs)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A gradient step at the learning rates of this moment, then what bounds the weights."""
        self.optimisation.set_rates()
        self._watch.begin_step()
        before = self.metrics.copy() if self._watch.skips else self.metrics
        super().optimizer_step(*args, **kwargs)
        if self._watch.skipped:
            self.metrics = before
            self.metrics.count("charts/skipped_updates")
            return
        with torch.no_grad():
            self.after_step()
        if self.trainer.is_last_batch:
            self._watch.refuse_bad_weights()  # before they are evaluated

    # ---- one iteration -------------------------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Begins an iteration: fresh metrics, learning rates and noise."""
        self.metrics.clear()
        self._record = None
        self.iteration = self.current_epoch + 1
        self.noise = generator_at([torch.initial_seed(), self.current_epoch], self.device)
        self._began = Began.now(self.source.steps)
        self.optimisation.begin_iteration()
        self._clipped = [list(network.parameters()) for network in self.clipped_apart()]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Keeps the minibatch for a description of what is wrong with it."""
        self._watch.begin_minibatch(batch, batch_idx + 1)
        return None

    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Takes numbers to log with this iteration; called by the data module and by callbacks.

        Raises:
            UserError: if somebody has read the numbers of the iteration, who would not know of these.
        """
        if self._record is not None:
            raise UserError(
                f"{', '.join(metrics)} came after the record of iteration {self.iteration}; a callback that adds "
                "numbers has to stand before those that read them, such as Pitfalls, IterationProgress and RunReport."
            )
        self.metrics.set(metrics)

    @property
    def record(self) -> IterationRecord | None:
        """Of the iteration that has ended last; `None` before the first of this process, and while one runs."""
        return self._record

    def finish_iteration(self) -> IterationRecord:
        """The record of an iteration whose last update has been made: whoever asks first ends it, for all others."""
        if self._record is None:
            self._watch.refuse_bad_weights()  # also if the iteration ended early
            self._validate_held_out()
            self._record = IterationRecord(self.iteration, self.source.steps, self.x_axis, self._numbers())
        return self._record

    def amend_record(self, metrics: Mapping[str, float]) -> None:
        """Adds what was measured after the end of the last iteration to its record, and logs it."""
        record = self.finish_iteration().amended(metrics)
        changed = {name: value for name, value in record.metrics.items() if name in metrics or name == "time/iteration"}
        log_metrics(self.trainer, changed, record.x)
        self._record = record

    def validation_step(self, batch: int) -> None:
        """Evaluation is a callback's work; Lightning wants this method to exist."""

    def on_train_epoch_end(self) -> None:
        """Logs the iteration, whose checkpoint is written after this."""
        record = self.finish_iteration()
        log_metrics(self.trainer, record.metrics, record.x)

    @torch.no_grad()
    def _validate_held_out(self) -> None:
        if (held_out := self.source.held_out) is not None:
            self.metrics.set(self._validate(held_out))

    def _numbers(self) -> dict[str, float]:
        """Everything known about the iteration, which ends now."""
        rates = {f"charts/learning_rate/{name}": rate for name, rate in self.optimisation.rates().items()}
        return with_costs({**self.metrics.compute(), **rates}, self._began, self.source.steps)

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the step counts, the notes, and which tensor is which in the optimiser's state."""
        steps = self.source.steps
        checkpoint["env_steps"], checkpoint["sim_steps"] = steps.env, steps.sim
        checkpoint["notes"] = self.notes
        checkpoint[NETWORKS] = describe_networks(self.actor, self.critic)  # it can be read as a policy
        checkpoint[optimizer_state.NAMES] = optimizer_state.tensor_names(self.optimisation.groups())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores step counts and notes; Adam's moments go to the tensors of the same name, however grouped now.

        The groups and their learning rates are those of this configuration.

        Raises:
            UserError: if the checkpoint has other tensors than this module.
        """
        optimizer_state.refuse_other_tensors(self.state_dict(), checkpoint["state_dict"])
        self.source.resume(Steps(checkpoint["env_steps"], checkpoint["sim_steps"]))
        self.notes = list(checkpoint.get("notes", []))  # what this module started with is replaced by what is loaded
        if not checkpoint.get("optimizer_states"):  # weights only
            return
        fresh = self.configure_optimizers().state_dict()
        if not self.restarts_optimizer:
            fresh["state"] = optimizer_state.moments_of(checkpoint, self.optimisation.groups())
        checkpoint["optimizer_states"] = [fresh]
