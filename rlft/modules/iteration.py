"""What every module does around its gradient steps: iterations, learning rates, metrics, checkpoints."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from rlft.advantage import AdvantageEstimator
from rlft.errors import UserError, require
from rlft.modules import bad_numbers
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.metrics import IterationMetrics, log_metrics
from rlft.modules.parameters import ParameterGroup, and_more, matching, parameter_groups
from rlft.types import Actor, Critic, TensorRows
from rlft.update import PolicyUpdate


class IterationModule(lightning.LightningModule, ABC):
    """A module whose epochs are iterations: an actor, maybe a critic, one Adam, metrics once per iteration.

    A learning rate is the product of the network's own rate, the factors of `learning_rate_factors` that name the
    tensor, the warm-up, and what `rate_factors` say at the moment; so schedules of several callbacks compose in any
    order. The warm-up is there because Adam's first steps are as long as the learning rate in every weight, whatever
    the gradient (Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond").

    NaN and infinity are noticed in a new rollout and its advantages, before anything is learned from them; in the loss
    and the gradients of a minibatch, before its gradient step; in the weights, before they are evaluated and saved. It
    costs one synchronisation of the device per gradient step. In half precision the gradients are left to Lightning's
    scaler, which expects infinite ones now and then, and makes no step with them.

    Args:
        learning_rate: of Adam.
        learning_rate_factors: multiplies the learning rate of submodules, by name or glob: `{actor.encoder: 0.1}`.
        learning_rate_warmup: gradient steps over which learning rates rise linearly: that of the i-th step of Adam with
            the moments it has, from 0, is multiplied by i / learning_rate_warmup.
        anneal_lr: lower the learning rates linearly to 0 over the run.
        max_grad_norm: the joint gradient norm is clipped to this.
        on_bad_numbers: `stop` ends the run; `skip` learns without the rows, and makes no gradient step with the loss or
            the gradients, that are not finite, and counts them. Weights that are not finite always end the run.
    """

    actor: Actor
    critic: Critic
    advantage: AdvantageEstimator | None = None  # if actions are judged
    update: PolicyUpdate | None = None  # if that is what the actor learns from
    warmup_iterations: int = 0  # at the start, that update the critic only

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
        self.learning_rate_factors = learning_rate_factors or {}
        self.learning_rate_warmup = learning_rate_warmup
        self.anneal_lr = anneal_lr
        self.max_grad_norm = max_grad_norm
        self.on_bad_numbers = on_bad_numbers
        self.own_groups: set[str] = set()  # names or globs whose learning rates a callback wants to set apart
        self.rate_factors: list[Callable[[ParameterGroup], float]] = []  # learning-rate schedules of callbacks
        self.restarts_optimizer = False  # a resumed run forgets Adam's moments
        self.env_steps = 0  # collected since the run began
        self.sim_steps = 0  # simulated since the run began: collected and re-rollouts, not evaluation
        self.iteration = 0  # the running one, from 1; 0 before the first of this process
        self.fixed_data = False  # every iteration has the same data; set by the data module
        self.held_out: TensorRows | None = None  # transitions that never train; set by the data module
        self.evaluated: Callable[[], IterationModule] = lambda: self  # whose weights are evaluated and exported
        self.critic_of: str | None = None  # whose value the critic is that the run starts with, if it is pretrained
        self.notes: list[str] = []  # what the report says of the start: a sentence or two each
        self.metrics = IterationMetrics()
        self.minibatch_number = 0  # of the running one within the iteration, from 1
        self._minibatch = TensorRows()  # the running one
        self._loss: Tensor | None = None  # of the running minibatch, if something is learned from it
        self._skips = False  # the running minibatch
        self._validated = False  # the iteration's validation is among its metrics
        self._clock, self._steps_before = time.perf_counter(), 0  # when the iteration began, and at which env step

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

    # ---- learning rates ------------------------------------------------------------------------------------------

    def network_rates(self) -> dict[str, float]:
        """Learning rate of each network that learns, by the name of its submodule."""
        return {"actor": self.learning_rate, "critic": self.learning_rate}

    def parameter_groups(self) -> list[ParameterGroup]:
        """All that learns, in groups of equal learning rate."""
        return parameter_groups(self, list(self.network_rates()), {*self.learning_rate_factors, *self.own_groups})

    def parameters_of(self, name: str, setting: str) -> dict[str, nn.Parameter]:
        """The parameters of a submodule by name or glob; see `matching`. For callbacks, which see only the module."""
        return matching(self, name, setting)

    def setup(self, stage: str) -> None:
        """Refuses names of submodules that do not exist before anything is simulated."""
        for name in self.learning_rate_factors:
            matching(self, name, "model.learning_rate_factors")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam."""
        groups = [{"params": list(group.parameters.values()), "name": group.name} for group in self.parameter_groups()]
        # One kernel for the whole step: a third of the time of the default on a CPU. It would unscale the gradients of
        # half precision only after they have been clipped.
        fused = self.trainer.precision != "16-mixed"
        return torch.optim.Adam(groups, lr=self.learning_rate, eps=1e-5, fused=fused)

    def clipped_apart(self) -> Sequence[nn.Module]:
        """The networks that have gradient norms of their own; by default everything that learns has a joint one."""
        return [self]

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clips the gradient norms; with numbers that are not finite there will be no gradient step."""
        networks = [list(network.parameters()) for network in self.clipped_apart()]
        learning = [parameters for parameters in networks if any(p.grad is not None for p in parameters)]
        norms = [torch.nn.utils.get_total_norm([p.grad for p in ps if p.grad is not None]) for ps in learning]
        if self._loss is not None:
            # In half precision infinite gradients are the scaler's business.
            looked_at = sum(norms, self._loss) if self.trainer.precision != "16-mixed" else self._loss
            if not bool(looked_at.isfinite()):  # of a sum, if any part is not
                if error := bad_numbers.bad_step(self, self._loss, self._minibatch):
                    raise error
                optimizer.zero_grad()  # without gradients Adam touches neither weights nor moments
                self._skips = True
                return
        for parameters, norm in zip(learning, norms, strict=True):
            torch.nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)

    def on_before_backward(self, loss: Tensor) -> None:
        """Keeps the loss until the gradients are known: looking at both at once waits for the device only once."""
        self._loss = loss.detach()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A gradient step at the learning rates of this moment, then what bounds the weights."""
        self._set_learning_rates()
        self._loss, self._skips = None, False
        before = self.metrics.copy() if self.on_bad_numbers == "skip" else None
        super().optimizer_step(*args, **kwargs)
        if self._skips and before is not None:
            self.metrics = before
            self.metrics.count("charts/skipped_updates")
            return
        with torch.no_grad():
            self.after_step()
        if self.trainer.is_last_batch:
            self._refuse_bad_weights()  # before they are evaluated

    def _refuse_bad_weights(self) -> None:
        if error := bad_numbers.bad_weights(self):
            raise error

    def after_step(self) -> None:
        """What follows a gradient step before any callback sees the weights; called without gradients."""

    def own_factor(self, group: ParameterGroup) -> float:
        """What `learning_rate_factors` multiply the learning rate of a group by."""
        return math.prod(self.learning_rate_factors.get(name, 1.0) for name in group.names)

    def warm_up(self, group: ParameterGroup, steps: int) -> float:
        """The share of a group's learning rate after as many gradient steps as Adam has made with its present moments.

        It rises linearly from 0 to 1 over `steps`, at once if there are none. Checkpoints hold the count.
        """
        if not steps:
            return 1.0
        state = self.trainer.optimizers[0].state
        made = max((float(state[p]["step"]) for p in group.parameters.values() if p in state), default=0.0)
        return min(1.0, made / steps)

    def _set_learning_rates(self) -> None:
        rates = self.network_rates()
        annealed = 1 - self.current_epoch / (self.trainer.max_epochs or 1) if self.anneal_lr else 1.0
        for group, settings in zip(self._groups, self.trainer.optimizers[0].param_groups, strict=True):
            rate = annealed * rates[group.network] * self.own_factor(group)
            rate *= self.warm_up(group, self.learning_rate_warmup)
            for factor in self.rate_factors:
                rate *= factor(group)
            settings["lr"] = rate

    # ---- one iteration -------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Keeps the minibatch for a description of what is wrong with it."""
        self._minibatch, self.minibatch_number = batch, batch_idx + 1
        return None

    def on_train_epoch_start(self) -> None:
        """Begins an iteration: fresh metrics and learning rates."""
        self.metrics.clear()
        self.iteration = self.current_epoch + 1
        self._clock, self._steps_before = time.perf_counter(), self.env_steps
        self._validated = False
        self._groups = self.parameter_groups()
        self._set_learning_rates()

    def add_metrics(self, metrics: dict[str, float]) -> None:
        """Takes numbers to log with this iteration; called by the data module and by callbacks."""
        self.metrics.set(metrics)

    def validation_step(self, batch: int) -> None:
        """Evaluation is a callback's work; Lightning wants this method to exist."""

    def on_train_epoch_end(self) -> None:
        """Logs the iteration, whose checkpoint is written after this."""
        self._refuse_bad_weights()  # also if the iteration ended early
        log_metrics(self.trainer, self.iteration_metrics(), self.x_axis)

    @property
    def x_axis(self) -> int:
        """What metrics are logged against: env steps, or iterations where all of them have the same data."""
        return self.iteration if self.fixed_data else self.env_steps

    def iteration_metrics(self) -> dict[str, float]:
        """Everything known about the current iteration; asked for when its last update has been made."""
        if self.held_out is not None and not self._validated:
            with torch.no_grad():
                self.metrics.set(self._validate(self.held_out))
            self._validated = True
        metrics = self.metrics.compute()
        seconds = time.perf_counter() - self._clock
        steps = self.env_steps - self._steps_before
        training = seconds - metrics.get("time/eval", 0.0)
        return metrics | {
            **{f"charts/learning_rate/{g['name']}": g["lr"] for g in self.trainer.optimizers[0].param_groups},
            "steps/env": self.env_steps,
            "steps/sim": self.sim_steps,
            "time/iteration": seconds,
            "time/update": training - metrics.get("time/rollout", 0.0) - metrics.get("time/rerollout", 0.0),
            "charts/SPS": steps / training,
        }

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the step counts, the notes, and which tensor is which in the optimiser's state."""
        checkpoint["env_steps"], checkpoint["sim_steps"] = self.env_steps, self.sim_steps
        checkpoint["notes"] = self.notes
        checkpoint["optimizer_parameters"] = [name for group in self.parameter_groups() for name in group.parameters]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores step counts and notes; Adam's moments go to the tensors of the same name, however grouped now.

        The groups and their learning rates are those of this configuration.

        Raises:
            UserError: if the checkpoint has other tensors than this module.
        """
        self._refuse_other_tensors(checkpoint["state_dict"])
        self.env_steps, self.sim_steps = checkpoint["env_steps"], checkpoint["sim_steps"]
        self.notes = list(checkpoint.get("notes", []))  # what this module started with is replaced by what is loaded
        if not checkpoint.get("optimizer_states"):  # weights only
            return
        fresh = self.configure_optimizers().state_dict()
        if not self.restarts_optimizer:
            fresh["state"] = self._moments(checkpoint)
        checkpoint["optimizer_states"] = [fresh]

    def _refuse_other_tensors(self, state: Mapping[str, Tensor]) -> None:
        ours = self.state_dict()
        lacking, unknown = ([n for n in one if n not in other] for one, other in ((ours, state), (state, ours)))
        misfit = [name for name in ours if name in state and state[name].shape != ours[name].shape]
        found = [f"it has no {lacking[0]}{and_more(lacking)}"] if lacking else []
        found += [f"it has {unknown[0]}{and_more(unknown)}, unknown here"] if unknown else []
        if misfit:
            there, here = (list(tensors[misfit[0]].shape) for tensors in (state, ours))
            found += [f"its {misfit[0]} is {there}, here {here}{and_more(misfit)}"]
        if found:
            raise UserError(
                f"The checkpoint does not fit this configuration: {'; '.join(found)}. To go on, networks, estimator "
                "and update have to be those it was made with; to start a new run from its policy use --model.policy."
            )

    def _moments(self, checkpoint: Mapping[str, Any]) -> dict[int, dict[str, Tensor]]:
        """Adam's state in a checkpoint, by the numbers that this configuration's groups give the tensors."""
        if "optimizer_parameters" not in checkpoint:
            raise UserError(
                "The checkpoint does not say which tensor is which in its optimiser; --reset_optimizer true goes on "
                "without Adam's moments."
            )
        saved: Mapping[int, dict[str, Tensor]] = checkpoint["optimizer_states"][0]["state"]
        moments = {name: saved[i] for i, name in enumerate(checkpoint["optimizer_parameters"]) if i in saved}
        names = [name for group in self.parameter_groups() for name in group.parameters]
        return {i: moments[name] for i, name in enumerate(names) if name in moments}
