"""Which runs are compared as one: by label, by the arm of a study, or by a name that differs in the seed alone."""

from __future__ import annotations

import glob
import itertools
import json
import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlft.comparison.runs import Run, group_and_seed, read_run, run_folder
from rlft.errors import UserError

STUDY = "study.json"


@dataclass(frozen=True)
class Selection:
    """Runs by label, and what has to be said about the choice."""

    groups: dict[str, list[Run]]
    notes: list[str]

    def add(self, label: str, run: Run) -> None:
        """Adds a run to a group."""
        self.groups.setdefault(label, []).append(run)


def select(arguments: Sequence[str], metric: str) -> Selection:
    """Reads what is named on the command line.

    Args:
        arguments: run folders, study folders, folders of either, patterns of any of these, or `label=pattern`.
        metric: tag without which a run in a folder or of a pattern is left out, and that is noted.

    Raises:
        UserError: if something that is named is no run, or nothing is left.
    """
    named: dict[tuple[str, Path], bool] = {}  # whether by its own name; patterns may overlap, a folder counts once
    for label, path, itself in itertools.chain(*map(_matches, arguments)):
        named[label, path.resolve()] = named.get((label, path.resolve()), False) or itself
    studies = [path for _, path in named if (path / STUDY).is_file()]
    selection, unlabelled = Selection({}, []), list[tuple[Path, Run]]()
    for (label, path), itself in named.items():
        if path in studies:
            _add_study(selection, path, prefix=label or (path.name if len(named) > 1 else ""))
            continue
        try:
            run = read_run(path)
            run.series(metric)
        except UserError as error:  # such as one that has just begun
            if itself:
                raise
            selection.notes.append(f"Left out: {error}")
            continue
        if label:
            selection.add(label, run)
        else:
            # A run of the same name in another folder is no other seed of it.
            unlabelled.append((run_folder(path).with_name(run.group), run))
    labels = _labels([group for group, _ in unlabelled])
    for group, run in unlabelled:
        selection.add(labels[group], run)
    if not selection.groups:
        first, others = selection.notes[:1], len(selection.notes) - 1
        reasons = [f"No run of {', '.join(map(str, studies))} is completed."] if studies else first
        raise UserError(" ".join(reasons) + (f" {others} more are left out." if others > 0 else ""))
    for label, runs in selection.groups.items():
        selection.notes.extend(_doubts(label, runs, metric))
    return selection


def _matches(argument: str) -> list[tuple[str, Path, bool]]:
    """Label, empty if there is none, folder of each run or study that an argument names, and whether it is that one."""
    label, equals, pattern = argument.partition("=")
    if not equals or Path(argument).exists():
        label, pattern = "", argument
    found = [pattern] if pattern and Path(pattern).exists() else sorted(glob.glob(pattern))
    folders = [folder for path in map(Path, found) if path.is_dir() for folder in _runs_in(path) or [path]]
    if not folders:
        raise UserError(f"There is no run {pattern!r}: it has to be a run folder, a study folder or a pattern of them.")
    return [(label, folder, folders == [Path(pattern)]) for folder in folders]


def _runs_in(folder: Path) -> list[Path]:
    """The folder itself if it is a run or a study, else those in it, as in `lightning_logs` or another tool's."""
    if _is_of_rlft(folder) or any(folder.glob("*.tfevents.*")):
        return [folder]
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.is_symlink()]
    inside = [run for child in children for run in _runs_in(child)]
    # Other tools may keep the events of a run deeper, as in <run>/tensorboard: the outer name is the run's then.
    deeper = len(inside) == 1 and not _is_of_rlft(inside[0]) and group_and_seed(inside[0].name)[1] < 0
    return [folder] if deeper else inside


def _is_of_rlft(folder: Path) -> bool:
    return (folder / STUDY).is_file() or any(folder.glob("version_*"))


def _add_study(selection: Selection, folder: Path, prefix: str) -> None:
    """The completed runs of a study, by arm."""
    path = folder / STUDY
    missing: dict[tuple[str, str], list[int]] = {}  # arm and status: seeds
    try:
        for entry in json.loads(path.read_text())["runs"]:
            if entry["preparation"]:
                continue
            if entry["status"] != "completed":
                status = "running or killed" if entry["status"] == "running" else entry["status"]
                missing.setdefault((entry["arm"], status), []).append(operator.index(entry["seed"]))
                continue
            label = f"{prefix}: {entry['arm']}" if prefix else str(entry["arm"])
            selection.add(label, read_run(folder / entry["run"], seed=operator.index(entry["seed"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the record of a study: {type(error).__name__} {error}.") from error
    for (arm, status), seeds in missing.items():
        selection.notes.append(f"Left out: {arm}, {status}, of seed {', '.join(map(str, seeds))}.")


def _doubts(label: str, runs: Sequence[Run], metric: str) -> list[str]:
    """What the reader should know of the runs of a group."""
    seeds = [run.seed for run in runs if run.seed >= 0]
    doubts = []
    if twice := sorted({str(seed) for seed in seeds if seeds.count(seed) > 1}):
        doubts.append(f"{label} holds seed {', '.join(twice)} more than once; repeats make its interval too narrow.")
    for run in runs:
        if run.unread:
            doubts.append(
                f"The last {run.unread:,} bytes of the event files of {run.name} are damaged or half-written and left "
                "out."
            )
        if lost := [step for step, value in run.scalars.get(metric, {}).items() if not math.isfinite(value)]:
            doubts.append(f"{len(lost)} values of {metric} of {run.name} are no numbers and left out: it may be lost.")
    return doubts


def _labels(groups: Sequence[Path]) -> dict[Path, str]:
    """What tells groups apart: their names without the parts that all of them share, or where they are."""
    different = list(dict.fromkeys(groups))
    names = [group.name for group in different]
    if len(set(names)) < len(names):
        above = Path(os.path.commonpath([group.parent for group in different]))
        return {group: str(group.relative_to(above)) for group in different}
    return dict(zip(different, _short(names), strict=True))


def _short(names: Sequence[str]) -> list[str]:
    between = "__" if all("__" in name for name in names) else "-"  # ManiSkill and CleanRL: task__script
    parts = [name.split(between) for name in names]
    shared = set.intersection(*map(set, parts)) if len(set(names)) > 1 else set[str]()
    short = [between.join(part for part in own if part not in shared) for own in parts]
    return short if all(short) and len(set(short)) == len(set(names)) else list(names)
