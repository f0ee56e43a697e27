"""Which runs are compared as one: by label, by the arm of a study, or because they differ in the seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlft.comparison import differences
from rlft.comparison.file_names import readable
from rlft.comparison.histories import History, choose, histories
from rlft.comparison.labels import Nameless, labels_of
from rlft.comparison.named_folders import Named, named_folders
from rlft.comparison.reading import read_folder, read_history
from rlft.comparison.run_names import counted
from rlft.comparison.runs import Run
from rlft.errors import UserError
from rlft.runs.directory import status_of, versions
from rlft.runs.identity import SHORT
from rlft.runs.study_manifest import ManifestEntry, is_study, read_manifest

ENVIRONMENT = ("data.env", "data.env.task", "data.env.robot", "data.env.control_mode", "data.env.task_options")


@dataclass(frozen=True)
class Selection:
    """Runs by label, and what has to be said about the choice."""

    groups: dict[str, list[Run]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

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
    named = named_folders(arguments)
    studies = [one for one in named if is_study(one.path)]
    runs: dict[str, list[Named]] = {}
    for one in named:
        if one not in studies:
            runs.setdefault(one.label, []).append(one)
    selection = Selection()
    for one in named:
        if one in studies:
            _add_study(selection, one.path, prefix=one.label or (_study_name(one, studies) if len(named) > 1 else ""))
        elif one.label:
            for run in _read(runs.pop(one.label, []), metric, selection.notes):
                selection.add(one.label, run)
    taken = list(selection.groups)
    for label, run in _labelled(_read(runs.get("", []), metric, selection.notes), selection.notes, taken):
        selection.add(label, run)
    if not selection.groups:
        _refuse_nothing(selection, studies)
    _note_doubts(selection, metric)
    return selection


def select_by_task(folder: Path, metric: str) -> tuple[dict[str, Selection], dict[str, str]]:
    """The completed runs of a study that has tasks, and the expert of each task.

    Returns:
        By task what is compared in it, none for a study without tasks; by task its expert, a name or a number, if any.
    """
    entries = [entry for entry in read_manifest(folder).runs if entry.task and not entry.preparation]
    tasks: dict[str, list[ManifestEntry]] = {}
    for entry in entries:
        tasks.setdefault(entry.task, []).append(entry)
    found = {task: Selection() for task in tasks}
    for task, own in tasks.items():
        _add_entries(found[task], folder, [(entry.arm, entry) for entry in own])
        _note_doubts(found[task], metric)
    return found, {entry.task: entry.expert for entry in entries}


def _note_doubts(selection: Selection, metric: str) -> None:
    """What the reader should know of the groups."""
    for label, group in selection.groups.items():
        selection.notes.extend(_doubts(label, group, metric))
    selection.notes.extend(_environments(selection))


def _refuse_nothing(selection: Selection, studies: Sequence[Named]) -> None:
    first, others = selection.notes[:1], len(selection.notes) - 1
    reasons = [f"No run of {', '.join(str(one.path) for one in studies)} is completed."] if studies else first
    raise UserError(" ".join(reasons) + (f" {others} more are left out." if others > 0 else ""))


# ---- runs that are named -----------------------------------------------------------------------------------------


def _read(named: Sequence[Named], metric: str, notes: list[str]) -> list[Run]:
    """The runs that are named with one label, or without any; what is left out goes to the notes."""
    found = {one.path: histories(one.path) for one in named}
    choice = choose([history for own in found.values() for history in own], repeats=any(one.label for one in named))
    notes.extend(choice.notes)
    runs: list[Run] = []
    for one in named:
        used = [history for history in choice.used if history.named == one.path]
        try:
            for run in _read_histories(used, notes) if found[one.path] else [read_folder(one.path)]:
                run.series(metric)
                runs.append(run)
        except UserError as error:  # such as one that has just begun
            if one.itself:
                raise
            notes.append(f"Left out: {error}")
            continue
        notes.extend(_versions_without_status(one.path, has_others=bool(found[one.path])))
    return runs


def _read_histories(used: Sequence[History], notes: list[str]) -> Iterator[Run]:
    """The runs of a folder; of several the names say which version each is."""
    for history in used:
        yield read_history(history, name=history.name if len(used) > 1 else history.run.name)
        notes.extend(_origin(history))


def _origin(history: History) -> Iterator[str]:
    """Where the curve of a run comes from, if it does not begin in the run's folder."""
    first, *_ = (part for part, _ in history.parts)
    if elsewhere := [part.name for part, _ in history.parts if part.run != history.run]:
        yield f"{history.name} went on from {', '.join(elsewhere)}, which counts as its beginning."
    if first.begins_in_the_middle:
        yield (
            f"{first.name} went on from iteration {first.status.checkpoint_iterations} of {first.status.checkpoint}, "
            "whose run is gone; its curve begins there."
        )


def _versions_without_status(folder: Path, *, has_others: bool) -> Iterator[str]:
    """What becomes of the versions in a run's folder that nothing tells of."""
    unknown = [version.name for version in versions(folder) if status_of(version) is None]
    if unknown and has_others:
        yield f"Left out: {', '.join(unknown)} of {folder.name}, without a status that can be read."
    elif len(unknown) > 1:
        yield (
            f"{folder.name} has no status that tells how its {len(unknown)} versions hang together; they were taken "
            "for one run that went on."
        )


# ---- arms --------------------------------------------------------------------------------------------------------


def _labelled(runs: Sequence[Run], notes: list[str], taken: Sequence[str]) -> list[tuple[str, Run]]:
    """Runs of the same settings are one arm; of those that nothing is known of, the ones of the same name.

    None of them joins an arm that has a label already.
    """
    arms: dict[object, list[Run]] = {}
    for run in runs:
        arms.setdefault(run.digest or run.place, []).append(run)
    settings = readable([own[0] for own in arms.values()])
    labels = labels_of([Nameless(own[0].place, one) for own, one in zip(arms.values(), settings, strict=True)])
    labels = differences.unique([*taken, *labels])[len(taken) :]
    for label, own in zip(labels, arms.values(), strict=True):
        if other := sorted({run.name for run in own if run.place.name != own[0].place.name}):
            notes.append(f"{label} holds {', '.join(other)}: the same settings under another name.")
    by_name = [label for label, own in zip(labels, arms.values(), strict=True) if not own[0].digest]
    if by_name and sum(not run.digest for run in runs) > 1:
        notes.append(
            f"Told apart by the names of their folders without the seed, as nothing says what their settings were: "
            f"{', '.join(by_name)}."
        )
        notes.extend(counted([own for own in arms.values() if not own[0].digest]))
    return [(label, run) for label, own in zip(labels, arms.values(), strict=True) for run in own]


# ---- studies -----------------------------------------------------------------------------------------------------


def _study_name(study: Named, studies: Sequence[Named]) -> str:
    """The name of its folder, with the folder around it where another study has the same."""
    alone = sum(other.path.name == study.path.name for other in studies) == 1
    return study.path.name if alone else "/".join(study.path.parts[-2:])


def _add_study(selection: Selection, folder: Path, prefix: str) -> None:
    """The completed runs of a study, by arm."""
    entries = [entry for entry in read_manifest(folder).runs if not entry.preparation]
    names = [entry.arm + (f" on {entry.task}" if entry.task else "") for entry in entries]
    labels = [f"{prefix}: {name}" if prefix else name for name in names]
    _add_entries(selection, folder, list(zip(labels, entries, strict=True)))


def _add_entries(selection: Selection, folder: Path, entries: Sequence[tuple[str, ManifestEntry]]) -> None:
    missing: dict[tuple[str, str], list[int]] = {}  # label and status: seeds
    for label, entry in entries:
        if entry.seed is None:
            continue
        if entry.status != "completed":
            status = "running or killed" if entry.status == "running" else entry.status
            missing.setdefault((label, status), []).append(entry.seed)
            continue
        selection.add(label, _run_of_study(folder / entry.run, entry, selection.notes))
    for (arm, status), seeds in missing.items():
        selection.notes.append(f"Left out: {arm}, {status}, of seed {', '.join(map(str, seeds))}.")


def _run_of_study(folder: Path, entry: ManifestEntry, notes: list[str]) -> Run:
    """The version that the study says; where it does not, the newest complete one."""
    choice = choose(histories(folder / entry.version), repeats=False)
    if not choice.used:
        return read_folder(folder)
    *others, history = sorted(choice.used, key=lambda one: (one.status.is_complete, one.version))
    notes.extend([*choice.notes, *_origin(history)])
    notes.extend(f"Left out: {one.name}, with other settings than {history.name}." for one in others)
    return read_history(history, name=history.run.name, seed=entry.seed)


def _environments(selection: Selection) -> Iterator[str]:
    """Where the numbers of arms are of different things."""
    for key in ENVIRONMENT:
        found: dict[str, dict[str, None]] = {}  # labels by value
        for label, group in selection.groups.items():
            for run in group:
                if key in run.settings:
                    found.setdefault(str(run.settings[key]), {})[label] = None
        if len(found) > 1:
            told = "; ".join(f"{value} of {', '.join(labels)}" for value, labels in found.items())
            yield f"Not the same environment, so a difference is not of the methods alone: {key} is {told}."


# ---- doubts ------------------------------------------------------------------------------------------------------


def _doubts(label: str, runs: Sequence[Run], metric: str) -> Iterator[str]:
    """What the reader should know of the runs of a group."""
    seeds = [run.seed for run in runs if run.seed >= 0]
    if twice := sorted({str(seed) for seed in seeds if seeds.count(seed) > 1}):
        yield f"{label} holds seed {', '.join(twice)} more than once; repeats make its interval too narrow."
    if len(different := readable(list({run.digest: run for run in runs if run.digest}.values()))) > 1:
        yield f"{label} holds runs that differ in more than the seed: {differences.summary(different)}."
    if len(commits := {run.commit for run in runs if run.commit}) > 1:
        shortened = ", ".join(commit[:SHORT] for commit in sorted(commits))
        yield f"{label} holds runs of {len(commits)} commits of the code: {shortened}."
    for run in runs:
        yield from run.notes
        if others := run.others.get(metric):
            yield f"{metric} of {run.name} is that of its own folder; folders below have {', '.join(others)} as well."
        if run.unread:
            yield (
                f"The last {run.unread:,} bytes of the event files of {run.name} are damaged or half-written and left "
                "out."
            )
        if lost := [step for step, value in run.scalars.get(metric, {}).items() if not math.isfinite(value)]:
            yield f"{len(lost)} values of {metric} of {run.name} are no numbers and left out: it may be lost."
