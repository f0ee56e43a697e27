"""What a run leaves on the disk: where, and never half of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from rlft.errors import UserError
from rlft.files.atomic import replacing

CANNOT_WRITE = "Cannot write run directories below {}; choose another --log_dir."


class RunLogger(TensorBoardLogger):
    """TensorBoard in a `version_<k>` of its own, also if another run of the same name begins at the same moment."""

    def _get_next_version(self) -> int:
        while True:
            version = int(super()._get_next_version())
            try:
                (Path(self.root_dir) / f"version_{version}").mkdir(parents=True)
            except FileExistsError:  # another run was faster
                continue
            except OSError as error:  # root may write everywhere, or so os.access says
                raise UserError(CANNOT_WRITE.format(self.root_dir)) from error
            return version


def run_logger(log_dir: str, name: str) -> TensorBoardLogger:
    """TensorBoard under `log_dir/name/version_k`; a directory that cannot be written shows before the simulation."""
    logger = RunLogger(log_dir, name=name, default_hp_metric=False)
    root = Path(logger.root_dir).absolute()
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(CANNOT_WRITE.format(existing))
    return logger


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` when everything has been checked: a refused run leaves nothing behind."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Too early: the module and what is restored from a checkpoint are checked after this."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Everything is built and restored, and nothing has been simulated."""
        super().setup(trainer, pl_module, "fit")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Takes back the empty TensorBoard file, which Lightning opens before anything is checked."""
        if self.already_saved or not isinstance(trainer.logger, TensorBoardLogger):
            return
        trainer.logger.finalize("failed")
        folder = Path(trainer.logger.log_dir)
        for events in folder.glob("events.out.tfevents.*"):
            events.unlink()
        for path in (folder, folder.parent):
            with suppress(OSError):  # something else is in it
                path.rmdir()


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear complete or not at all: Lightning overwrites the one before in place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes beside `path` and renames."""
        with replacing(Path(path)) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)
