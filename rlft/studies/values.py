"""When two values in a study's file are the same for a run: `1e-4`, which YAML takes for a text, and `0.0001`."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import yaml


def meaning(value: Any) -> Hashable:
    """Equal for values that a run takes for the same."""
    if isinstance(value, str):
        return _of_text(value)
    if value is None or isinstance(value, bool):
        return "word", value
    if isinstance(value, int | float):
        return "number", str(value) if math.isnan(value) else value
    if isinstance(value, list):
        return "list", tuple(map(meaning, value))
    if isinstance(value, dict):
        return "mapping", tuple(sorted((str(key), repr(meaning(one))) for key, one in value.items()))
    return "text", str(value)


def twice(values: Sequence[Any]) -> tuple[Any, Any] | None:
    """The first two of the values that are the same."""
    seen: dict[Hashable, Any] = {}
    for value in values:
        if meaning(value) in seen:
            return seen[meaning(value)], value
        seen[meaning(value)] = value
    return None


def effective(options: Iterable[tuple[str, Any]]) -> tuple[tuple[str, Hashable], ...]:
    """The options of a run as they come to count: of the same one, the last; in an order where that matters."""
    last: dict[str, Hashable] = {}
    for i, (option, value) in enumerate(options):
        key = f"{option}{i}" if option.endswith("+") else option  # one that adds to a list replaces none
        last.pop(key, None)
        last[key] = meaning(value)
    depends = any("+" in key or other.startswith(f"{key}.") for key in last for other in last)
    return tuple(last.items() if depends else sorted(last.items(), key=lambda item: item[0]))


def _of_text(text: str) -> Hashable:
    plain = text.strip()
    if plain.lower() in ("true", "false", "null", "~", ""):
        return meaning({"true": True, "false": False}.get(plain.lower()))
    try:
        return meaning(float(plain))
    except ValueError:
        pass
    if plain.startswith("["):
        try:
            return meaning(yaml.safe_load(plain))
        except yaml.YAMLError:
            pass
    return "text", text
