"""What TensorBoard opens with: charts that belong together, the settings of every run, and its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.runs import directory

SUCCESS = "eval/success_rate"
LAYOUT = {
    "rlft": {
        "success and its 95% interval": ["Margin", [SUCCESS, f"{SUCCESS}_low", f"{SUCCESS}_high"]],
        "success, evaluated and in training": ["Multiline", [f"{SUCCESS}$", "train/success_rate$"]],
        "losses": ["Multiline", ["losses/.*"]],
        "seconds": ["Multiline", ["time/.*"]],
    }
}


class TensorBoardOverview(lightning.Callback):
    """Fills the tabs Custom Scalars, HParams, by whose columns runs can be filtered, and Text.

    Args:
        settings: of the run, by dotted name; those that are the same in all runs are of no use there.
    """

    changes_results = False  # it only observes

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = dict(settings)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes layout and settings, when everything has been checked."""
        if not isinstance(trainer.logger, TensorBoardLogger):
            return
        from torch.utils.tensorboard.summary import hparams  # not at the start of every command

        writer = trainer.logger.experiment
        writer.add_custom_scalars(LAYOUT)
        values = {name: _primitive(value) for name, value in self._settings.items()}
        summaries: Any = hparams(values, {SUCCESS: 0.0})  # type: ignore[no-untyped-call]  # names the metric
        for summary in summaries:
            writer._get_file_writer().add_summary(summary)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds the report, which has been written by now."""
        folder = directory.of_trainer(trainer)
        if folder is not None and isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_text("report", (folder / "report.md").read_text(errors="replace"))


def _primitive(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
