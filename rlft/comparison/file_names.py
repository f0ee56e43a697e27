"""Settings for readers: a file that counts by its content is shown by its name, `pickcube/weak (3f2a9c1b)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import yaml

from rlft.comparison.differences import Settings
from rlft.comparison.runs import Run
from rlft.runs.identity import SHORT
from rlft.runs.old_settings import LOADER, flattened

CONTENT = "sha256:"


def readable(runs: Sequence[Run]) -> list[Settings]:
    """The settings of runs, with names for those contents that differ, as their configurations say them."""
    first = runs[0].settings if runs else {}
    same = {key for key in first if all(run.settings.get(key) == first[key] for run in runs)}
    return [
        _readable(run, {key for key in run.settings.keys() - same if _has_content(run.settings[key])}) for run in runs
    ]


def _readable(run: Run, keys: Set[str]) -> Settings:
    names = _configuration(run.version) if keys else {}
    return {key: _named(value, names.get(key)) if key in keys else value for key, value in run.settings.items()}


def _has_content(value: Any) -> bool:
    return any(map(_has_content, value)) if isinstance(value, list) else str(value).startswith(CONTENT)


def _named(value: Any, name: Any) -> Any:
    if isinstance(value, list):
        names = name if isinstance(name, list) and len(name) == len(value) else [None] * len(value)
        return [_named(*pair) for pair in zip(value, names, strict=True)]
    if not _has_content(value):
        return value
    digest = value.removeprefix(CONTENT)[:SHORT]
    return f"{_short(name)} ({digest})" if isinstance(name, str) else f"content {digest}"


def _short(name: str) -> str:
    """A policy's name as it is, of a longer path the last part."""
    path = Path(name).with_suffix("")
    return path.name if path.is_absolute() or len(path.parts) > 2 else str(path)


def _configuration(version: Path | None) -> Mapping[str, Any]:
    """Flat; empty if it is not there or cannot be read."""
    try:
        config = yaml.load((version / "config.yaml").read_bytes(), LOADER) if version else {}
        return flattened(config)
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return {}
