"""Freezing submodules for a part of a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import lightning
from torch import nn

from rlft.callbacks.access import callbacks_of, learner
from rlft.callbacks.schedule import Unit, check_unit, progress
from rlft.errors import UserError, require
from rlft.modules.optimisation import Optimisation
from rlft.modules.parameters import ParameterGroup


@dataclass(frozen=True)
class Freeze:
    """One line of a schedule.

    Args:
        module: submodule to freeze, e.g. `critic`, `actor.encoder` or `actor.encoder.0`; also a single parameter such
            as `actor.log_std`, or a glob of such names.
        start: it is frozen in iterations that begin at this step (from 0) or later.
        end: it is free again in iterations that begin at this step or later; `null` keeps it frozen to the end.
        warmup: gradient steps over which its learning rate then rises linearly: that of the i-th step, from 0, is
            multiplied by i / warmup. Adam counts them: a run continued without its moments warms up again.
    """

    module: str
    start: int = 0
    end: int | None = None
    warmup: int = 0

    def __post_init__(self) -> None:
        where = f"FreezeSchedule of {self.module}"
        for name, value in (("start", self.start), ("warmup", self.warmup)):
            require(value >= 0, f"{where}: {name}", value, "at least 0")
        if self.end is not None and self.end <= self.start:
            raise UserError(f"{where}: end is {self.end}; it must be above start, which is {self.start}.")
        if self.warmup and self.end is None:
            raise UserError(f"{where}: warmup is of no use without an end, after which it would follow.")

    def freezes(self, step: int) -> bool:
        """Whether an iteration that begins at this step is one of those in which it is frozen."""
        return self.start <= step and (self.end is None or step < self.end)


class FreezeSchedule(lightning.Callback):
    """Freezes submodules for some iterations.

    A frozen tensor takes no gradient and stays bit-identical; its learning rate is logged as 0, and
    `charts/frozen/<module>` is 1. When it is freed it starts with new Adam moments: those from before would push it in
    a direction that has long been out of date. What something else has frozen is left alone.

    Args:
        schedule: what to freeze, and when; a tensor that several lines name is frozen if one of them says so, and warms
            up as the one that ended last says.
        unit: what a step of the schedule is: `iterations` that are complete, or `env_steps` collected, when an
            iteration begins.
    """

    def __init__(self, schedule: list[Freeze], unit: Unit = "iterations") -> None:
        self.schedule = schedule
        self.unit = unit
        self._step = 0  # at which the running iteration began
        self._frozen: set[nn.Parameter] = set()  # by this callback, and now

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Sets the submodules apart, and refuses ones that do not exist before anything is simulated."""
        if sum(isinstance(callback, FreezeSchedule) for callback in callbacks_of(trainer)) > 1:
            raise UserError("FreezeSchedule is there twice; all lines must be in the schedule of one.")
        module = learner(self, pl_module)
        check_unit(module, self.unit, "FreezeSchedule")
        for line in self.schedule:
            module.optimisation.set_apart(line.module, "FreezeSchedule")
        module.optimisation.multiply(partial(self._factor, module.optimisation))

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Applies the schedule to the iteration that begins."""
        module = learner(self, pl_module)
        self._step = progress(module, self.unit)
        frozen = {
            parameter
            for line in self.schedule
            if line.freezes(self._step)
            for parameter in module.optimisation.parameters(line.module, "FreezeSchedule").values()
            if parameter in self._frozen or parameter.requires_grad
        }
        for parameter in frozen ^ self._frozen:
            parameter.requires_grad_(parameter not in frozen)
            parameter.grad = None
            trainer.optimizers[0].state.pop(parameter, None)
        self._frozen = frozen

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hands what was frozen to the module, which cleared its metrics after `on_train_epoch_start`."""
        frozen = {line.module for line in self.schedule if line.freezes(self._step)}
        charts = {f"charts/frozen/{line.module}": float(line.module in frozen) for line in self.schedule}
        learner(self, pl_module).add_metrics(charts)

    def _factor(self, optimisation: Optimisation, group: ParameterGroup) -> float:
        lines = [line for line in self.schedule if line.module in group.names]
        if any(line.freezes(self._step) for line in lines):
            return 0.0
        ended = [line for line in lines if line.end is not None and line.end <= self._step]
        warmup = max(ended, key=lambda line: line.end or 0).warmup if ended else 0
        return optimisation.warm_up(group, warmup)  # new moments count their steps from 0
