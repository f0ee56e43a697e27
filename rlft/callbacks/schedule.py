"""What callbacks with a schedule have in common: how far a run is."""

from __future__ import annotations

from typing import Literal

from rlft.errors import UserError
from rlft.modules.iteration import IterationModule

Unit = Literal["iterations", "env_steps"]


def progress(module: IterationModule, unit: Unit) -> int:
    """How many iterations or env steps of the whole run lie behind an iteration that begins."""
    return module.current_epoch if unit == "iterations" else module.env_steps


def check_unit(module: IterationModule, unit: Unit, name: str) -> None:
    """Refuses to count env steps where there are none; called in `setup`.

    Raises:
        UserError: if the module learns from fixed data.
    """
    if unit == "env_steps" and module.source.fixed:
        raise UserError(f"{name}.unit is env_steps, which stand still with fixed data; it must be iterations.")
