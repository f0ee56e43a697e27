"""Networks as class and arguments: what files say of them, and building them again.

A description is plain json, `{"class_path": ..., "init_args": {...}}` as in a config; an argument may be a description
itself. Building one executes what `import` of the class's module does and the constructor of the class: of something
that is installed here, never anything that a file brings along.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from rlft.errors import UserError, one_line
from rlft.types import Network

KEYS = {"class_path", "init_args"}
N = TypeVar("N", bound=Network)


def describe(network: Network) -> dict[str, Any]:
    """Its class and arguments, as `build` takes them.

    Raises:
        UserError: if the class cannot be imported by a name, or the network has not kept its arguments.
    """
    cls = type(network)
    try:
        arguments = network.arguments()
    except AttributeError as error:
        raise UserError(
            f"A file cannot say how to build the {cls.__name__}: {error}; a network keeps every constructor argument "
            "under the argument's own name."
        ) from error
    return {"class_path": _class_path(cls), "init_args": {k: _plain(cls, k, v) for k, v in arguments.items()}}


def build(description: Any, base: type[N]) -> N:
    """A network like the one that was described, with new weights.

    Args:
        description: by `describe`, or from a file.
        base: what the class must be a subclass of; looked at before the class is called.

    Raises:
        UserError: if there is no such class, or it does not take these arguments.
    """
    cls = described_class(description, base)
    arguments = description["init_args"]
    try:
        return cls(**{name: _argument(value) for name, value in arguments.items()})
    except UserError:
        raise
    except Exception as error:  # of somebody's constructor
        raise UserError(f"{description['class_path']} cannot be built with {arguments}: {one_line(error)}.") from error


def described_class(description: Any, base: type[N]) -> type[N]:
    """The class of a description; its module is imported, but nothing is called.

    Raises:
        UserError: if there is none, or it is something else than a `base`.
    """
    if not _is_description(description):
        raise UserError(f"A network is described by class_path and init_args, not by {json.dumps(description)[:100]}.")
    path = description["class_path"]
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing executes the module, which may raise anything
        raise UserError(f"There is no network class {path!r} here: {one_line(error)}.") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{path!r} is no {base.__name__}, so nothing is built of it.")
    return cls


def shapes(description: Any, base: type[N]) -> dict[str, torch.Size] | None:
    """The shapes of the tensors of what `build` would build, without their memory.

    Returns:
        Nothing if the constructor fails without numbers.

    Raises:
        UserError: as `build` does.
    """
    described_class(description, base)
    try:
        with torch.device("meta"):
            state = build(description, base).state_dict()
    except UserError as error:
        if error.__cause__ is None:
            raise
        return None  # what is wrong shows again when it is built for real
    return {name: tensor.shape for name, tensor in state.items()}


def _is_description(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() == KEYS
        and isinstance(value["class_path"], str)
        and isinstance(value["init_args"], Mapping)
    )


def _plain(cls: type, name: str, value: Any) -> Any:
    """An argument as json."""
    if isinstance(value, Network):
        return describe(value)
    if isinstance(value, list | tuple):
        return [_plain(cls, name, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str) or _is_description(value):
        return value
    raise UserError(
        f"A file cannot say how to build the {cls.__name__}: its argument {name} is a {type(value).__name__}, not a "
        "number, a text, a list of these or a network of rlft.types.Network."
    )


def _argument(value: Any) -> Any:
    """The inverse of `_plain`; lists become tuples."""
    if _is_description(value):
        return build(value, Network)
    return tuple(_argument(item) for item in value) if isinstance(value, list) else value


def _class_path(cls: type) -> str:
    """How to import a class: from the outermost package that has it, as configs name it."""
    parts = cls.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        if module != "__main__" and getattr(sys.modules.get(module), cls.__qualname__, None) is cls:
            return f"{module}.{cls.__qualname__}"
    raise UserError(
        f"A file cannot name the class {cls.__qualname__} of {cls.__module__}: define it at the top level of a module "
        "that can be imported."
    )
