"""Dataclasses of tensors as the named entries of a file, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from rlft.types import Obs

D = TypeVar("D")
PARTS = ("image", "privileged")  # of an observation beside its state, named after it: `obs.image`


def entries_of(rows: Any) -> dict[str, Tensor]:
    """Tensors of a dataclass by field name, `outer.inner` where a field is a dataclass itself.

    The state of an observation has the name of the observation, as when there was nothing else in it. A field with a
    default is left out where it has no numbers, and is not asked for in `rows_of`.
    """
    found: dict[str, Tensor] = {}
    for field in dataclasses.fields(rows):
        value = getattr(rows, field.name)
        if _has_default(field) and isinstance(value, Tensor) and not value.shape[-1]:
            continue
        if isinstance(value, Obs):
            found |= _entries_of_obs(field.name, value)
        elif isinstance(value, Tensor):
            found[field.name] = value
        else:
            found |= {f"{field.name}.{key}": tensor for key, tensor in entries_of(value).items()}
    return found


def _entries_of_obs(name: str, obs: Obs) -> dict[str, Tensor]:
    parts = {f"{name}.{part}": getattr(obs, part) for part in PARTS}
    return {name: obs.state} | {key: tensor for key, tensor in parts.items() if tensor.shape[-1]}


def rows_of(kind: type[D], entries: Mapping[str, Tensor]) -> D:
    """The inverse of `entries_of`, for a dataclass `kind`."""
    optional = {field.name for field in dataclasses.fields(kind) if _has_default(field)}  # type: ignore[arg-type]
    hints = {name: hint for name, hint in get_type_hints(kind).items() if name in entries or name not in optional}
    return kind(**{name: _value(name, hint, entries) for name, hint in hints.items()})


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING


def _value(name: str, hint: Any, entries: Mapping[str, Tensor]) -> Any:
    """A field: a tensor, an observation, or a dataclass of the entries below it."""
    if hint in (Tensor, Obs):
        parts = {part: entries[f"{name}.{part}"] for part in PARTS if f"{name}.{part}" in entries}
        return entries[name] if hint is Tensor else Obs(entries[name], **parts)
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
