"""Dataclasses of tensors as the named entries of a file, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

D = TypeVar("D")


def entries_of(rows: Any) -> dict[str, Tensor]:
    """Tensors of a dataclass by field name, `outer.inner` where a field is a dataclass itself."""
    found: dict[str, Tensor] = {}
    for field in dataclasses.fields(rows):
        value = getattr(rows, field.name)
        inner = {"": value} if isinstance(value, Tensor) else {f".{key}": t for key, t in entries_of(value).items()}
        found |= {field.name + key: tensor for key, tensor in inner.items()}
    return found


def rows_of(kind: type[D], entries: Mapping[str, Tensor]) -> D:
    """The inverse of `entries_of`, for a dataclass `kind`."""
    return kind(**{name: _value(name, hint, entries) for name, hint in get_type_hints(kind).items()})


def _value(name: str, hint: Any, entries: Mapping[str, Tensor]) -> Any:
    """A field: a tensor, or a dataclass of those below it."""
    if hint is Tensor:
        return entries[name]
    prefix = f"{name}."
    return rows_of(hint, {key.removeprefix(prefix): t for key, t in entries.items() if key.startswith(prefix)})


def with_log_prob_known(entries: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Entries of a `Rollout` under `prefix`, whoever wrote them.

    Earlier versions wrote no `log_prob_known`: their `log_prob` is NaN where it is not known.
    """
    name, flag = f"{prefix}log_prob", f"{prefix}log_prob_known"
    if name not in entries or flag in entries:
        return dict(entries)
    unknown = entries[name].isnan()
    return {**entries, name: entries[name].masked_fill(unknown, 0), flag: ~unknown}
