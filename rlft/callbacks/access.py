"""What callbacks see of a run, with its types: the module that learns, and the data module with its environments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning

from rlft.errors import UserError
from rlft.modules import FinetuneModule
from rlft.modules.iteration import IterationModule
from rlft.modules.source import environments_of
from rlft.runs import directory
from rlft.types import EnvSource


def learner(callback: lightning.Callback, module: lightning.LightningModule) -> IterationModule:
    """The module of a run, whose epochs are iterations.

    Args:
        callback: that needs it.
        module: as Lightning hands it to callbacks.

    Raises:
        UserError: if it is another kind of module.
    """
    if not isinstance(module, IterationModule):
        raise UserError(f"{_name(callback)} needs a module like FinetuneModule, with iterations, not {_name(module)}.")
    return module


def finetuner(callback: lightning.Callback, module: lightning.LightningModule) -> FinetuneModule:
    """A module that has an advantage estimator; arguments and errors as of `learner`."""
    if not isinstance(module, FinetuneModule):
        raise UserError(f"{_name(callback)} needs a FinetuneModule, not {_name(module)}.")
    return module


def environments(callback: lightning.Callback, trainer: lightning.Trainer) -> EnvSource:
    """The data module of a run.

    Raises:
        UserError: if it has no environments.
    """
    return environments_of(trainer, _name(callback))


def callbacks_of(trainer: Any) -> list[lightning.Callback]:
    """All callbacks of a run, in their order; Lightning does not declare them."""
    return list(trainer.callbacks)


def folder_of(trainer: Any) -> Path | None:
    """Where policies go: without a logger where Lightning has files; nowhere for all learners but the first."""
    if not keeps_files(trainer) or not trainer.is_global_zero:
        return None
    return directory.of_trainer(trainer) or Path(trainer.default_root_dir)


def keeps_files(trainer: Any) -> bool:
    """Whether a run leaves checkpoints and policies; not in a `fast_dev_run`, which Lightning does not declare."""
    return not trainer.fast_dev_run


def _name(thing: object) -> str:
    return type(thing).__name__
