"""What the arguments of `rlft compare` name: runs, studies, folders of them, patterns, each with a label or without."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlft.comparison.reading import stem_and_seed
from rlft.errors import UserError
from rlft.runs.study_manifest import is_study


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
    label, equals, pattern = argument.partition("=")
    if not equals or Path(argument).exists():
        label, pattern = "", argument
    found = [pattern] if pattern and Path(pattern).exists() else sorted(glob.glob(pattern))
    folders = [folder for path in map(Path, found) if path.is_dir() for folder in _runs_in(path) or [path]]
    if not folders:
        raise UserError(f"There is no run {pattern!r}: it has to be a run folder, a study folder or a pattern of them.")
    return [Named(folder, label, folders == [Path(pattern)]) for folder in folders]


def _runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is a run or a study, else those in it, as in `lightning_logs` or another tool's."""
    if _is_of_rlft(folder) or any(folder.glob("*.tfevents.*")):
        return [folder]
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.is_symlink()]
    inside = [run for child in children for run in _runs_in(child)]
    # Other tools may keep the events of a run deeper, as in <run>/tensorboard: the outer name is the run's then.
    deeper = len(inside) == 1 and not _is_of_rlft(inside[0]) and stem_and_seed(inside[0].name)[1] < 0
    return [folder] if deeper else inside


def _is_of_rlft(folder: Path) -> bool:
    return is_study(folder) or any(folder.glob("version_*"))
