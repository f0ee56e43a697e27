"""The progress line: iteration, env steps, env steps per second, success, the return of runs that are judged by it.

Seconds count from when the command begins to read its arguments: building everything and evaluating the start policy is
in them, but not in the rate.
"""

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
PATIENCE = 30.0  # seconds between lines about a running iteration where the output is no terminal
EVERY = 20  # minibatches between looks at the clock


class IterationProgress(ProgressBar):
    """A bar over the iterations of a run; a plain line per iteration where the output is no terminal.

    Within an iteration it says what is going on, and which share of the gradient steps is done.
    """

    changes_results = False  # it only observes

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._began = time.perf_counter()  # the command makes this before anything else
        self._started = 0.0  # when training did
        self._steps_at_start = 0
        self._enabled = True
        self._running = ""  # the iteration that is running, of how many
        self._measured = ""  # what has been measured of the policy
        self._reported = 0.0  # when something was last printed

    def disable(self) -> None:
        """Called by Lightning where another process reports."""
        self._enabled = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Says what is special about the start, and opens the bar."""
        if not self._enabled:
            return
        for note in learner(self, pl_module).notes:
            print(note, flush=True)
        if sys.stdout.isatty():
            console = Console(file=sys.stdout)
            columns: list[ProgressColumn] = [TextColumn("{task.description}"), TimeElapsedColumn()]
            if console.width >= WIDE:
                columns = [BarColumn(12), *columns, TimeRemainingColumn()]
            self._progress = Progress(*columns, console=console, get_time=time.perf_counter)
            self._task = self._progress.add_task("starting", total=float(trainer.max_epochs or 1))
            self._progress.tasks[0].start_time = self._began
            self._progress.start()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows the start policy."""
        self._started, self._steps_at_start = time.perf_counter(), learner(self, pl_module).env_steps
        if not self._enabled:
            return
        environments(self, trainer).on_rerollouts = self._show_rerollouts
        self._show(trainer, learner(self, pl_module), trainer.current_epoch, trainer.callback_metrics)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Says that the iteration collects, if it does."""
        self._running = f"iteration {trainer.current_epoch + 1}/{trainer.max_epochs}"
        if not learner(self, pl_module).source.fixed:
            self._show_within("collecting")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Says how far the gradient steps of the iteration are."""
        if trainer.is_last_batch:
            self._show_within("evaluating", trainer.current_epoch + 1)
        elif batch_idx % EVERY == 0:
            share = (batch_idx + 1) / max(1, int(trainer.num_training_batches))
            self._show_within(f"learning {share:.0%}", trainer.current_epoch + share)

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
        text = f"iteration {done}/{trainer.max_epochs}"
        if collected := module.env_steps - self._steps_at_start:
            rate = collected / (time.perf_counter() - self._started)
            text += f"  {module.env_steps:,} env steps  {rate:,.0f} env steps/s"
        told = self._told(trainer, metrics)
        self._measured = told or self._measured
        if self._progress:
            self._progress.update(self._task, completed=done, description=text + told)
        elif self._enabled:
            self._print(text + told)

    @staticmethod
    def _told(trainer: lightning.Trainer, metrics: Mapping[str, float | Tensor]) -> str:
        """What there is to say of an evaluation."""
        text = ""
        if "eval/success_rate" in metrics:
            rate, low, high = (100 * float(metrics[f"eval/success_rate{s}"]) for s in ("", "_low", "_high"))
            text += f"  success {rate:.1f}% [{low:.0f}, {high:.0f}]"
        if "eval/return" in metrics and getattr(trainer.checkpoint_callback, "monitor", None) == "eval/return":
            text += f"  return {float(metrics['eval/return']):,.1f}"
        if "losses/validation_explained_variance" in metrics:
            text += f"  explained variance {float(metrics['losses/validation_explained_variance']):.3f}"
        return text

    def _show_rerollouts(self, begun: int, total: int) -> None:
        self._show_within(f"re-rollouts {begun:,} of {total:,}")

    def _show_within(self, phase: str, completed: float | None = None) -> None:
        """What the running iteration is at, and how many iterations are complete, if that has changed."""
        text = f"{self._running}  {phase}"
        if self._progress:
            self._progress.update(self._task, completed=completed, description=text + self._measured)
        elif self._enabled and time.perf_counter() - self._reported > PATIENCE:
            self._print(text)

    def _print(self, text: str) -> None:
        self._reported = time.perf_counter()
        print(f"{text}  {self._reported - self._began:.0f} s", flush=True)
