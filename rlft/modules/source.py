"""The data of a run, as its module and its callbacks see them."""

from __future__ import annotations

import lightning

from rlft.errors import UserError
from rlft.types import DataSource, EnvSource


def source_of(trainer: lightning.Trainer, who: str) -> DataSource:
    """The data module of a run.

    Args:
        trainer: of the run.
        who: asks for it, for the sentence of the error.

    Raises:
        UserError: if it is none that says what it has.
    """
    data = getattr(trainer, "datamodule", None)  # Lightning does not declare it
    if not isinstance(data, DataSource):
        raise UserError(
            f"{who} needs a data module that is a rlft.types.DataSource, such as RolloutDataModule; "
            f"{'there is none' if data is None else f'{type(data).__name__} is not'}."
        )
    return data


def environments_of(trainer: lightning.Trainer, who: str) -> EnvSource:
    """The data module of a run that has environments; arguments and errors as of `source_of`."""
    data = source_of(trainer, who)
    if not isinstance(data, EnvSource):
        raise UserError(
            f"{who} needs a data module with environments, a rlft.types.EnvSource such as RolloutDataModule; "
            f"{type(data).__name__} has none."
        )
    return data
