"""Plug-ins as settings: what their results depend on, in a form that can be stored and compared."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import get_args

Primitive = str | int | float | None  # what json and a checkpoint that runs no code can hold


def settings_of(plugin: object, without: Collection[str] = ()) -> dict[str, Primitive]:
    """Class and constructor arguments of a plug-in, as far as it keeps them under their names.

    Args:
        plugin: an estimator, an environment.
        without: arguments that what is stored does not depend on.

    Returns:
        `class`, its short name, and one entry for every argument that is text, a number or nothing.
    """
    names = [name for name in inspect.signature(type(plugin).__init__).parameters if name not in without]
    kept = {name: value for name, value in vars(plugin).items() if name in names}
    primitive = {name: value for name, value in kept.items() if isinstance(value, get_args(Primitive))}
    return {"class": type(plugin).__name__, **primitive}
