"""Reading runs: what the versions of a run of rlft have logged one after the other, or the logs of other tools."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlft.comparison.event_files import ITERATION_TAGS, Scalars, event_files, merge, read_scalars
from rlft.comparison.histories import History
from rlft.comparison.runs import NAMES, Run, canonical
from rlft.errors import UserError
from rlft.runs import outcomes
from rlft.runs.directory import is_version
from rlft.runs.identity import SHORT
from rlft.runs.outcomes import Episodes

SEEDED = (
    re.compile(r"(?P<group>.+)[-_]seed_?(?P<seed>\d+)"),  # rlft
    re.compile(r"(?P<group>.+)__(?P<seed>\d+)__\d{9,}"),  # ManiSkill and CleanRL: task__script__seed__time
)


def read_history(history: History, name: str, seed: int | None = None) -> Run:
    """A run of rlft, from its beginning, also where that is in another folder.

    Args:
        history: the version that counts, with those before.
        name: of the run.
        seed: if it is known; by default what its status says.

    Raises:
        UserError: if there are no readable event files, or none with a scalar.
    """
    scalars, episodes, unread = dict[str, dict[int, float]](), dict[tuple[str, int], Episodes](), 0
    for part, until in history.parts:
        log = _read_log(part.version)
        last = _last_step(log.scalars, until, part.status.checkpoint_iterations)
        for tag, points in log.scalars.items():
            scalars[tag] = scalars.get(tag, {}) | {step: value for step, value in points.items() if step <= last}
        episodes |= {key: one for key, one in log.episodes.items() if one.step <= last}
        unread += log.unread
    status = history.status
    own = history.run.name
    stem, _ = stem_and_seed(own.replace(f"-{status.digest[:SHORT]}", "") if status.digest else own)
    return Run(
        name,
        history.run.with_name(stem),
        status.seed if seed is None else seed,
        {tag: dict(sorted(points.items())) for tag, points in _some(scalars, history.version).items() if points},
        unread,
        episodes,
        status.digest,
        status.settings,
    )


def read_folder(folder: Path) -> Run:
    """Any folder with event files below, of which nothing but its name tells what it is.

    Raises:
        UserError: if there are no readable event files, or none with a scalar.
    """
    log = _read_log(folder)
    own = run_folder(folder)
    stem, seed = stem_and_seed(own.name)
    return Run(own.name, own.with_name(stem), seed, _some(log.scalars, folder), log.unread, log.episodes)


def run_folder(path: Path) -> Path:
    """The folder that a run is named by, of which `path` may be a version."""
    resolved = path.resolve()
    return resolved.parent if is_version(resolved) else resolved


def stem_and_seed(name: str) -> tuple[str, int]:
    """What the name of a run says of it: the name without the seed, and the seed; -1 if it tells none."""
    match = next(filter(None, (pattern.fullmatch(name) for pattern in SEEDED)), None)
    return (match["group"], int(match["seed"])) if match else (name, -1)


@dataclass(frozen=True)
class _Log:
    """What is logged in a folder, by rlft's names."""

    scalars: Scalars
    episodes: Mapping[tuple[str, int], Episodes]
    unread: int


def _read_log(folder: Path) -> _Log:
    files = event_files(folder)
    if not files:
        raise UserError(f"{folder} holds no TensorBoard event files, so it is no run.")
    parts, unread = zip(*map(read_scalars, files), strict=True)
    folders = list(dict.fromkeys(file.parent for file in files))
    return _Log(merge([_renamed(part) for part in parts]), outcomes.read(folders), sum(unread))


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


def _renamed(scalars: Scalars) -> Scalars:
    """With rlft's names; where a tool logs both, its own use of rlft's name counts."""
    return {canonical(tag): points for tag, points in scalars.items() if tag in NAMES} | {
        tag: points for tag, points in scalars.items() if tag not in NAMES
    }
