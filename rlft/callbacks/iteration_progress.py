"""The progress line: iteration, env steps, steps per second, success, and the return of runs that are judged by it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from rlft.callbacks.access import environments, learner
from rlft.modules.iteration import IterationModule

WIDE = 105  # columns of a terminal that has room for a bar
PATIENCE = 30.0  # seconds between lines about re-rollouts where the output is no terminal


class IterationProgress(ProgressBar):
    """A bar over the iterations of a run; a plain line per iteration where the output is no terminal."""

    changes_results = False  # it only observes

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._started = 0.0
        self._steps_at_start = 0
        self._enabled = True
        self._running = ""  # the iteration that is running, of how many
        self._reported = 0.0  # when re-rollouts were last reported

    def disable(self) -> None:
        """Called by Lightning where another process reports."""
        self._enabled = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Says what is special about the start."""
        if self._enabled:
            for note in learner(self, pl_module).notes:
                print(note, flush=True)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Opens the bar."""
        self._started, self._steps_at_start = time.perf_counter(), learner(self, pl_module).env_steps
        if not self._enabled:
            return
        environments(self, trainer).on_rerollouts = self._show_rerollouts
        if sys.stdout.isatty():
            console = Console(file=sys.stdout)
            columns: list[ProgressColumn] = [TextColumn("{task.description}"), TimeElapsedColumn()]
            if console.width >= WIDE:
                columns = [BarColumn(12), *columns, TimeRemainingColumn()]
            self._progress = Progress(*columns, console=console)
            self._task = self._progress.add_task("", total=float(trainer.max_epochs or 1))
            self._progress.start()
        self._show(trainer, learner(self, pl_module), trainer.current_epoch, trainer.callback_metrics)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar within an iteration."""
        if self._progress and batch_idx % 20 == 0:
            within = batch_idx / max(1, int(trainer.num_training_batches))
            self._progress.update(self._task, completed=trainer.current_epoch + within)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows the iteration that ended."""
        module = learner(self, pl_module)
        self._show(trainer, module, trainer.current_epoch + 1, module.finish_iteration().metrics)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows what `rlft validate` measured."""
        numbers = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("eval")}
        for name, value in numbers.items():
            print(f"{name:32s} {value:.3f}")

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Lightning does not call `teardown` then."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Leaves the terminal as it was, whatever ended the run."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _show(
        self, trainer: lightning.Trainer, module: IterationModule, done: int, metrics: Mapping[str, float | Tensor]
    ) -> None:
        seconds = time.perf_counter() - self._started
        rate = (module.env_steps - self._steps_at_start) / seconds if done else 0.0
        text = f"iteration {done}/{trainer.max_epochs}  {module.env_steps:,} env steps  {rate:,.0f} SPS"
        if "eval/success_rate" in metrics:
            rate, low, high = (100 * float(metrics[f"eval/success_rate{s}"]) for s in ("", "_low", "_high"))
            text += f"  success {rate:.1f}% [{low:.0f}, {high:.0f}]"
        if "eval/return" in metrics and getattr(trainer.checkpoint_callback, "monitor", None) == "eval/return":
            text += f"  return {float(metrics['eval/return']):,.1f}"
        if "losses/validation_explained_variance" in metrics:
            text += f"  explained variance {float(metrics['losses/validation_explained_variance']):.3f}"
        self._running, self._reported = f"iteration {done + 1}/{trainer.max_epochs}", time.perf_counter()
        if self._progress:
            self._progress.update(self._task, completed=done, description=text)
        elif self._enabled:
            print(f"{text}  {seconds:.0f} s", flush=True)

    def _show_rerollouts(self, begun: int, total: int) -> None:
        text = f"{self._running}  re-rollouts {begun:,} of {total:,}"
        if self._progress:
            self._progress.update(self._task, description=text)
        elif time.perf_counter() - self._reported > PATIENCE:
            self._reported = time.perf_counter()
            print(f"{text}  {self._reported - self._started:.0f} s", flush=True)
