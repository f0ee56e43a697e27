"""A training run as its TensorBoard log tells it: the same names for what rlft, ManiSkill and CleanRL log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlft.comparison.event_files import Scalars
from rlft.errors import UserError
from rlft.runs.behaviour import FAILED, MEASURE
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


@dataclass(frozen=True)
class Run:
    """Everything that a run has logged as numbers.

    Attributes:
        name: the run's folder.
        place: its folder, with the name without seed and digest for a last part.
        seed: of training; -1 if nothing tells.
        scalars: values by tag and event step (env steps; iterations where all iterations have the same data).
        unread: bytes at the ends of its event files that could not be read.
        episodes: those of its evaluations by metric and step, if it kept them.
        digest: of its identity; empty if nothing tells what it is.
        settings: what its identity is of.
        unclear: a sentence for each tag that has no single series in its logs.
        others: what series of folders below are called, of tags that its own folder has too.
        notes: sentences on what of its logs is left out.
        version: its directory, of a run of rlft.
        commit: of the code that made it; empty if nothing tells.
    """

    name: str
    place: Path
    seed: int
    scalars: Scalars
    unread: int = 0
    episodes: Mapping[tuple[str, int], Episodes] = field(default_factory=dict)
    digest: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    unclear: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    version: Path | None = None
    commit: str = ""

    def has(self, tag: str) -> bool:
        """Whether it has logged a tag, clear or not."""
        return tag in self.scalars or tag in self.unclear

    def series(self, tag: str) -> tuple[Steps, Array]:
        """Steps and values of a tag, at least one, without values that are not numbers.

        Raises:
            UserError: if the run has not logged it, or never as a number, or more than one series of it.
        """
        if tag in self.unclear:
            raise UserError(self.unclear[tag])
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

    def episodes_of(self, tag: str, i: int) -> Episodes | None:
        """Those that the i-th value of a tag is the mean of, if the run kept them."""
        steps, values = self.series(tag)
        episodes = self.episodes.get((tag, int(steps[i])))
        if episodes is None or not math.isclose(np.mean(episodes.success), values[i], abs_tol=1e-6):
            return None  # an event file may lag behind, or lack its end
        return episodes

    def behaviour(self, evaluation: str) -> dict[str, float]:
        """What the policy of its last evaluation did, by tag, as far as its task tells."""
        begins = (f"{evaluation}{MEASURE}", f"{evaluation}{FAILED}")
        return {tag: list(points.values())[-1] for tag, points in self.scalars.items() if tag.startswith(begins)}

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


def canonical(tag: str) -> str:
    """What rlft calls it."""
    return NAMES.get(tag, tag)
