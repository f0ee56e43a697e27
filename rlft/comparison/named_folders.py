"""What the arguments of `rlft compare` name: runs, studies, folders of them, patterns, each with a label or without."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlft.comparison.run_names import named
from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.runs.study_manifest import is_study

SPLITS = {"train", "training", "val", "valid", "validation", "test", "eval", "evaluation"}  # folders of one run's logs


@dataclass(frozen=True)
class Named:
    """A folder of a run or a study.

    Attributes:
        path: of the folder.
        label: that was given; empty if there is none.
        itself: whether it was named by its own path, and not as part of a folder or a pattern.
    """

    path: Path
    label: str
    itself: bool


def named_folders(arguments: Sequence[str]) -> list[Named]:
    """All of them, each once: patterns may overlap.

    Raises:
        UserError: if an argument names nothing.
    """
    found: dict[tuple[str, Path], Named] = {}
    for one in itertools.chain(*map(_matches, arguments)):
        key = one.label, one.path.resolve()
        before = found.get(key)
        found[key] = Named(key[1], one.label, one.itself or (before is not None and before.itself))
    return list(found.values())


def _matches(argument: str) -> list[Named]:
    """What an argument names, as a pattern or as `label=pattern`; labels and patterns may have further signs `=`."""
    readings = [(argument[:i], argument[i + 1 :]) for i, sign in enumerate(argument) if sign == "="]
    likely = [("", argument), *(one for one in readings if "/" not in one[0])]
    found = {one: folders for one in likely if (folders := _folders(one[1]))}
    found = found or {one: folders for one in readings if (folders := _folders(one[1]))}
    if len(found) > 1:
        raise UserError(_ambiguous(argument, list(found)))
    for (label, pattern), folders in found.items():
        runs = [run for folder in folders for run in _runs_in(folder) or [folder]]
        return [Named(run, label, runs == [typed_path(pattern)]) for run in runs]
    _, pattern = readings[0] if readings else ("", argument)
    raise UserError(f"There is no run {pattern!r}: it has to be a run folder, a study folder or a pattern of them.")


def _folders(pattern: str) -> list[Path]:
    pattern = os.path.expanduser(pattern)
    found = [pattern] if pattern and Path(pattern).exists() else sorted(glob.glob(pattern))
    return [path for path in map(Path, found) if path.is_dir()]


def _ambiguous(argument: str, readings: Sequence[tuple[str, str]]) -> str:
    """Folders may be called like `lr=0.001`, as Hydra does."""
    unambiguous = [
        f"{_with_label(label, f'./{pattern}')!r} for {f'the label {label}' if label else 'the folders of that name'}"
        for label, pattern in readings
    ]
    return f"{argument!r} can be read in several ways; write {' or '.join(unambiguous)}."


def _with_label(label: str, pattern: str) -> str:
    return f"{label}={pattern}" if label else pattern


def _runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is a run or a study, else those in it, as in `lightning_logs` or another tool's."""
    if _is_of_rlft(folder) or any(folder.glob("*.tfevents.*")):
        return [folder]
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.is_symlink()]
    inside = [run for child in children for run in _runs_in(child)]
    if inside and all(run.parent == folder and run.name in SPLITS for run in inside):
        return [folder]
    # Other tools may keep the events of a run deeper, as in <run>/tensorboard: the outer name is the run's then.
    deeper = len(inside) == 1 and not _is_of_rlft(inside[0]) and named(inside[0].name).seed < 0
    return [folder] if deeper else inside


def _is_of_rlft(folder: Path) -> bool:
    return is_study(folder) or any(folder.glob("version_*"))
