"""A training run as its TensorBoard log tells it: the same names for what rlft, ManiSkill and CleanRL log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlft.comparison.event_files import Scalars, event_files, merge, read_scalars
from rlft.errors import UserError
from rlft.runs import outcomes
from rlft.runs.outcomes import Episodes

Array = NDArray[np.float64]
Steps = NDArray[np.int64]

NAMES = {  # what other tools call it: what rlft calls it. What exactly they measure is theirs to say.
    "eval/success_once": "eval/success_rate",  # ManiSkill's PPO and SAC
    "eval/episode_len": "eval/episode_length",
    "train/success_once": "train/success_rate",
    "train/episode_len": "train/episode_length",
    "charts/eval_success_rate": "eval/success_rate",  # ManiSkill's PPO until 2024
    "charts/eval_episodic_return": "eval/return",
    "charts/eval_episodic_length": "eval/episode_length",
    "charts/success_rate": "train/success_rate",
    "charts/episodic_return": "train/return",  # CleanRL; episodes of training, with sampled actions
    "charts/episodic_length": "train/episode_length",
}
SEEDED = (
    re.compile(r"(?P<group>.+)[-_]seed_?(?P<seed>\d+)"),  # rlft
    re.compile(r"(?P<group>.+)__(?P<seed>\d+)__\d{9,}"),  # ManiSkill and CleanRL: task__script__seed__time
)


@dataclass(frozen=True)
class Run:
    """Everything that a run has logged as numbers.

    Attributes:
        name: the run's folder.
        group: the name without the seed.
        seed: of training; -1 if nothing tells.
        scalars: values by tag and event step (env steps; iterations where all iterations have the same data).
        unread: bytes at the ends of its event files that could not be read.
        episodes: those of its evaluations by metric and step, if it kept them.
    """

    name: str
    group: str
    seed: int
    scalars: Scalars
    unread: int = 0
    episodes: Mapping[tuple[str, int], Episodes] = field(default_factory=dict)

    def series(self, tag: str) -> tuple[Steps, Array]:
        """Steps and values of a tag, at least one, without values that are not numbers.

        Raises:
            UserError: if the run has not logged it, or never as a number.
        """
        if tag not in self.scalars:
            raise UserError(f"{self.name} has no {tag}; it has {self._offered()}.")
        points = self.scalars[tag]
        steps, values = np.array(list(points), dtype=np.int64), np.array(list(points.values()), dtype=np.float64)
        finite = np.isfinite(values)
        if not finite.any():
            raise UserError(f"{self.name} has no {tag} that is a number.")
        return steps[finite], values[finite]

    def latest(self, tag: str, steps: Steps) -> Array:
        """The latest value at or before each step; 0 before the first one."""
        known, values = self.series(tag)
        return np.concatenate(([0.0], values))[np.searchsorted(known, steps, side="right")]

    def total(self, tag: str, steps: Steps) -> Array:
        """The sum of the values at or before each step."""
        known, values = self.series(tag)
        return np.concatenate(([0.0], np.cumsum(values)))[np.searchsorted(known, steps, side="right")]

    def last_episodes(self, tag: str) -> Episodes | None:
        """Those that the last value of a tag is the mean of, if the run kept them."""
        steps, values = self.series(tag)
        episodes = self.episodes.get((tag, int(steps[-1])))
        if episodes is None or not math.isclose(np.mean(episodes.success), values[-1], abs_tol=1e-6):
            return None  # an event file may lag behind, or lack its end
        return episodes

    def end(self) -> Steps:
        """The last step at which anything was logged, `[1]`."""
        return np.array([max(max(points) for points in self.scalars.values())], dtype=np.int64)

    @property
    def begins_later(self) -> bool:
        """Whether it is a run of rlft without its start, which every new one evaluates before anything else."""
        return "steps/env" in self.scalars and min(min(points) for points in self.scalars.values()) > 0

    def _offered(self) -> str:
        measured = [tag for tag in sorted(self.scalars) if tag.startswith(("eval", "train"))]
        return ", ".join(measured or sorted(self.scalars))


def read_run(folder: Path, seed: int | None = None) -> Run:
    """A run folder of rlft with all its versions, one version of it, or any folder with event files below.

    Args:
        folder: `lightning_logs/<run name>`, `.../version_<k>`, or the folder of another tool's run.
        seed: if it is known; by default what the folder's name says, else the configuration in it.

    Raises:
        UserError: if there are no readable event files, or none with a scalar.
    """
    files = event_files(folder)
    if not files:
        raise UserError(f"{folder} holds no TensorBoard event files, so it is no run.")
    parts, unread = zip(*map(read_scalars, files), strict=True)
    scalars = merge([_renamed(part) for part in parts])
    if not scalars:
        raise UserError(f"No scalars can be read in {folder}: its event files are empty or damaged.")
    name = run_folder(folder).name
    group, found = group_and_seed(name)
    folders = list(dict.fromkeys(file.parent for file in files))
    if seed is None:
        seed = _configured_seed(folders) if found < 0 else found
    return Run(name, group, seed, scalars, sum(unread), outcomes.read(folders))


def run_folder(path: Path) -> Path:
    """The folder that a run is named by, of which `path` may be a version."""
    resolved = path.resolve()
    return resolved.parent if re.fullmatch(r"version_\d+", resolved.name) else resolved


def group_and_seed(name: str) -> tuple[str, int]:
    """What the name of a run says of it: the name without the seed, and the seed; -1 if it tells none."""
    match = next(filter(None, (pattern.fullmatch(name) for pattern in SEEDED)), None)
    return (match["group"], int(match["seed"])) if match else (name, -1)


def _configured_seed(folders: Sequence[Path]) -> int:
    """What the newest configuration of a run of rlft says, whose name may be anything; -1 if there is none."""
    for folder in reversed(folders):
        with suppress(OSError):
            config = (folder / "config.yaml").read_text(errors="replace")
            if found := re.search(r"^seed_everything: (\d+)$", config, re.M):
                return int(found[1])
    return -1


def canonical(tag: str) -> str:
    """What rlft calls it."""
    return NAMES.get(tag, tag)


def _renamed(scalars: Scalars) -> Scalars:
    """With rlft's names; where a tool logs both, its own use of rlft's name counts."""
    return {canonical(tag): points for tag, points in scalars.items() if tag in NAMES} | {
        tag: points for tag, points in scalars.items() if tag not in NAMES
    }
