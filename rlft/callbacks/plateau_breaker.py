"""Higher learning rates for a while when a metric no longer improves."""

from __future__ import annotations

import math
from typing import Any, Literal

import lightning
import torch

from rlft.callbacks.access import learner
from rlft.errors import UserError, require
from rlft.modules.iteration import IterationModule


class PlateauBreaker(lightning.Callback):
    """Multiplies all learning rates for some iterations when a metric has not improved for a while.

    Time is counted in iterations of the whole run, before and after a resume. Whether the metric has improved is asked
    whenever it has been measured, at the start and after an iteration; with an evaluation every 5 iterations that is
    every 5 iterations. If the best value is then at least `patience` iterations old, the next iteration begins with
    learning rates `factor` times as high; `duration` iterations later they are what they would have been. A metric
    whose value is NaN counts as not measured. Logs `charts/plateau_factor`.

    Args:
        monitor: the metric.
        mode: whether `max` or `min` of it is best.
        min_delta: an improvement must exceed this.
        patience: iterations without improvement that make a plateau.
        factor: of the learning rates.
        duration: iterations that they are multiplied for.
        cooldown: iterations from the beginning of one bump to the beginning of the next one, if not more; at least
            twice the duration.
        max_bumps: there are no more than this many.
    """

    def __init__(
        self,
        monitor: str = "eval/success_rate",
        mode: Literal["max", "min"] = "max",
        min_delta: float = 0.0,
        patience: int = 10,
        factor: float = 2.0,
        duration: int = 5,
        cooldown: int = 10,
        max_bumps: int = 3,
    ) -> None:
        for name, value in (("patience", patience), ("duration", duration), ("max_bumps", max_bumps)):
            require(value >= 1, f"PlateauBreaker.{name}", value, "at least 1")
        if cooldown < 2 * duration:
            raise UserError(
                f"PlateauBreaker.cooldown is {cooldown}; it must be at least {2 * duration}, twice the duration."
            )
        require(0 <= min_delta < math.inf, "PlateauBreaker.min_delta", min_delta, "at least 0 and finite")
        require(0 < factor < math.inf, "PlateauBreaker.factor", factor, "above 0 and finite")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = min_delta
        self.patience = patience
        self.factor = factor
        self.duration = duration
        self.cooldown = cooldown
        self.max_bumps = max_bumps
        self._best: float | None = None
        self._bumps: list[int] = []  # how many iterations were complete when each began
        self._improved = self._looked = -1  # how many were when the best value, and the last one, was measured
        self._running = 0  # how many were when the running one began

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Has a say in the learning rates."""
        learner(self, pl_module).optimisation.multiply(lambda group: self._factor())

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Looks at the iteration before, whose metrics are complete now and still there."""
        module = learner(self, pl_module)
        self._look(trainer, module, trainer.current_epoch)
        self._running = trainer.current_epoch
        if module.iteration == 1 and self.monitor not in trainer.callback_metrics:
            raise UserError(
                f"PlateauBreaker.monitor is {self.monitor!r}, which neither the start nor the first iteration has "
                "measured; it must be a metric that is logged, such as 'eval/success_rate'."
            )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hands the factor to the module."""
        learner(self, pl_module).add_metrics({"charts/plateau_factor": self._factor()})

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Looks at the iteration that ends, since its metrics are in no checkpoint, and adds what is known."""
        module = learner(self, pl_module)
        self._look(trainer, module, module.iteration)
        checkpoint[self._key] = (self._best, self._bumps, self._improved, self._looked)

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores what is known, if it is of this metric."""
        if self._key in checkpoint:
            self._best, self._bumps, self._improved, self._looked = checkpoint[self._key]

    @property
    def _key(self) -> str:
        return f"PlateauBreaker of {self.mode} {self.monitor}"

    def _factor(self) -> float:
        return self.factor if any(0 <= self._running - start < self.duration for start in self._bumps) else 1.0

    def _look(self, trainer: lightning.Trainer, module: IterationModule, complete: int) -> None:
        """Begins a bump if the metric was measured after so many iterations and is on a plateau."""
        # Later ones of `callback_metrics` may be stale; those of the start are nowhere else.
        metrics = module.record.metrics if module.record else trainer.callback_metrics
        value = float(torch.tensor(float(metrics.get(self.monitor, math.nan))))  # in the precision of both
        if complete == self._looked or math.isnan(value):
            return
        self._looked = complete
        if self._best is None or (value - self._best) * (1 if self.mode == "max" else -1) > self.min_delta:
            self._best, self._improved = value, complete
        elif complete - self._improved >= self.patience and self._may_begin(complete):
            self._bumps.append(complete)

    def _may_begin(self, complete: int) -> bool:
        if not self._bumps:
            return True
        return len(self._bumps) < self.max_bumps and complete - self._bumps[-1] >= self.cooldown
