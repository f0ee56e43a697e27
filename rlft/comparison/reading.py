"""Reading runs: what the versions of a run of rlft have logged one after the other, or the logs of other tools."""

from __future__ import annotations

import math
from pathlib import Path

from rlft.comparison.event_files import ITERATION_TAGS, Scalars
from rlft.comparison.histories import History
from rlft.comparison.logs import Log, read_log
from rlft.comparison.run_names import named
from rlft.comparison.runs import Run
from rlft.errors import UserError
from rlft.runs import outcomes
from rlft.runs.directory import is_version
from rlft.runs.identity import SHORT
from rlft.runs.outcomes import Episodes


def read_history(history: History, name: str, seed: int | None = None) -> Run:
    """A run of rlft, from its beginning, also where that is in another folder.

    Args:
        history: the version that counts, with those before.
        name: of the run.
        seed: if it is known; by default what its status says.

    Raises:
        UserError: if there are no readable event files, or none with a scalar.
    """
    scalars, episodes, logs = dict[str, dict[int, float]](), dict[tuple[str, int], Episodes](), list[Log]()
    for part, until in history.parts:
        log = read_log(part.version, part.name)
        last = _last_step(log.scalars, until, part.status.checkpoint_iterations)
        for tag, points in log.scalars.items():
            scalars[tag] = scalars.get(tag, {}) | {step: value for step, value in points.items() if step <= last}
        episodes |= {key: one for key, one in outcomes.read(log.folders).items() if one.step <= last}
        logs.append(log)
    status = history.status
    own = history.run.name
    stem, _ = named(own.replace(f"-{status.digest[:SHORT]}", "") if status.digest else own)
    unclear = {tag: message for log in logs for tag, message in log.unclear.items()}
    return Run(
        name,
        history.run.with_name(stem or own),
        status.seed if seed is None else seed,
        {
            tag: dict(sorted(points.items()))
            for tag, points in _some(scalars, history.version).items()
            if points and tag not in unclear
        },
        sum(log.unread for log in logs),
        episodes,
        status.digest,
        status.settings,
        unclear,
        {tag: names for log in logs for tag, names in log.others.items()},
        tuple(note for log in logs for note in log.notes),
        history.version,
        status.commit,
    )


def read_folder(folder: Path) -> Run:
    """Any folder with event files below, of which nothing but its name tells what it is.

    Raises:
        UserError: if there are no readable event files, or none with a scalar.
    """
    own = run_folder(folder)
    stem, seed = named(own.name)
    name, place = (own.name, own.with_name(stem)) if stem else (f"{own.parent.name}/{own.name}", own.parent)
    log = read_log(folder, name)
    if not log.unclear:
        _some(log.scalars, folder)
    return Run(
        name,
        place,
        seed,
        log.scalars,
        log.unread,
        outcomes.read(log.folders),
        unclear=log.unclear,
        others=log.others,
        notes=tuple(log.notes),
    )


def run_folder(path: Path) -> Path:
    """The folder that a run is named by, of which `path` may be a version."""
    resolved = path.resolve()
    return resolved.parent if is_version(resolved) else resolved


def _last_step(scalars: Scalars, until: int | None, before: int) -> float:
    """The step of iteration `until`, if it is there, in the log of a version that begins after iteration `before`."""
    tag = next((tag for tag in ITERATION_TAGS if tag in scalars), None)
    steps = sorted(scalars[tag]) if tag else []
    if until is None or until - before > len(steps):
        return math.inf
    return steps[until - before - 1] if until > before else -math.inf


def _some(scalars: Scalars, folder: Path) -> Scalars:
    if not scalars:
        raise UserError(f"No scalars can be read in {folder}: its event files are empty or damaged.")
    return scalars
