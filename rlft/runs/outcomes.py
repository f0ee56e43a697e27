"""Which episodes of the evaluations of a run succeeded, and what the task tells of each: a file in its directory.

It is for tests that pair initial states. Lines of earlier versions, and of tasks that tell nothing, have successes
alone.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlft.files.atomic import append_line

FILE = "episodes.jsonl"


@dataclass(frozen=True)
class Episodes:
    """One evaluation, episode by episode.

    Attributes:
        metric: tag of the success rate.
        step: at which it was logged.
        states: which initial states the episodes begin in, in order.
        success: of each episode.
        behaviour: what the task tells of each episode, by name.
    """

    metric: str
    step: int
    states: str
    success: tuple[bool, ...]
    behaviour: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def starts(self) -> tuple[str, int]:
        """The initial states and their number: equal if two evaluations can be compared episode by episode."""
        return self.states, len(self.success)


def add(folder: Path, episodes: Episodes) -> None:
    """Adds an evaluation to the file in a run's directory."""
    success = "".join("01"[one] for one in episodes.success)
    entry = {"metric": episodes.metric, "step": episodes.step, "states": episodes.states, "success": success}
    told = {name: [_rounded(number) for number in numbers] for name, numbers in episodes.behaviour.items()}
    append_line(folder / FILE, json.dumps({**entry, **({"behaviour": told} if told else {})}))


def _rounded(number: float) -> float:
    """To what the 24 bits of a simulator's number can tell."""
    return float(f"{number:.7g}")


def read(folders: Sequence[Path]) -> dict[tuple[str, int], Episodes]:
    """All evaluations of a run by metric and step; `folders` are its directories, of which the later one counts."""
    return {(episodes.metric, episodes.step): episodes for folder in folders for episodes in _read(folder / FILE)}


def _read(path: Path) -> Iterable[Episodes]:
    """Without lines that a full disk or an editor has spoiled; comparisons do without them."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
            success = tuple(bool("01".index(one)) for one in entry["success"])
            step = operator.index(entry["step"])
            told = {str(name): tuple(map(float, numbers)) for name, numbers in entry.get("behaviour", {}).items()}
            episodes = Episodes(str(entry["metric"]), step, str(entry["states"]), success, told)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if success and all(len(numbers) == len(success) for numbers in told.values()):
            yield episodes
