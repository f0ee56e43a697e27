"""What a study says while it runs: a line for each run that begins or ends, and a bar where there is a terminal."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from rlft.studies.folder import Outcome
from rlft.studies.plan import PlannedRun


class StudyProgress:
    """Prints; use as a context.

    Args:
        runs: all of the study.
        jobs: how many run at a time.
        spent: seconds that each run has had already, by name.
        complete: names of those that are complete: what runs of their arm are expected to take.
    """

    def __init__(
        self, runs: Sequence[PlannedRun], jobs: int, spent: Mapping[str, float], complete: Collection[str]
    ) -> None:
        self._runs = {run.name: run for run in runs}
        self._jobs = jobs
        self._took = {name: seconds for name, seconds in spent.items() if seconds and name in complete}
        self._started = time.monotonic()
        self._spent = dict(spent)  # in however many pieces
        self._began: dict[str, float] = {}  # when, of those that are running
        self._ended: set[str] = set()
        self._kept = 0  # were complete before
        self._console = Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False)
        self._progress: Progress | None = None

    def __enter__(self) -> StudyProgress:
        """Opens the bar."""
        if sys.stdout.isatty():
            columns = (BarColumn(20), TextColumn("{task.description}"))
            self._progress = Progress(*columns, console=self._console, get_time=time.monotonic)
            self._task = self._progress.add_task("", total=len(self._runs))
            self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Leaves the terminal as it was."""
        if self._progress:
            self._progress.stop()

    def begun(self, run: PlannedRun, *, again: bool) -> None:
        """Says that it goes on, or begins."""
        if self._kept:
            self._say(f"{self._kept} of {len(self._runs)} runs are complete already")
            self._kept = 0
        self._began[run.name] = time.monotonic()
        self._say(f"{run.name} {'goes on' if again else 'begins'}")

    def ended(self, run: PlannedRun, outcome: Outcome, seconds: float) -> None:
        """Says how it ended, and when the rest will have."""
        began = self._began.pop(run.name, None)
        if outcome.status not in ("interrupted", "waiting"):
            self._ended.add(run.name)
        if outcome.status == "completed" and began is None:
            self._kept += 1
            return
        self._spent[run.name] = self._spent.get(run.name, 0.0) + seconds
        if outcome.status == "completed":
            self._took[run.name] = self._spent[run.name]
        after = f" after {_clock(seconds)}" if began is not None else ""
        reason = f": {outcome.reason}" if outcome.reason else ""
        self._say(f"{run.name} {outcome.status}{after}{reason}")

    def _say(self, text: str) -> None:
        elapsed = _clock(time.monotonic() - self._started)
        remaining = self._remaining()
        left = f", about {_clock(remaining)} left" if remaining is not None else ""
        count = f"{len(self._ended)}/{len(self._runs)}"
        self._console.print(f"[{count}] {text}  ({elapsed}{left})")
        if self._progress:
            self._progress.update(self._task, completed=len(self._ended), description=f"{count}{left}")

    def _remaining(self) -> float | None:
        """Seconds until the last of the runs will end, as far as one can say after those that are complete.

        A run is expected to take what others of its arm took, or else what other preparations, or other runs, took.
        """
        by_arm: dict[str, list[float]] = {}
        by_kind: dict[bool, list[float]] = {}
        for name, seconds in self._took.items():
            by_arm.setdefault(self._runs[name].arm, []).append(seconds)
            by_kind.setdefault(self._runs[name].preparation, []).append(seconds)
        now = time.monotonic()
        free, ends = [0.0] * self._jobs, dict[str, float]()  # when each place becomes free, and each run ends
        left = [name for name in self._runs if name not in self._ended]  # each after those it needs
        for name in sorted(left, key=lambda name: name not in self._began):
            run = self._runs[name]
            known = by_arm.get(run.arm) or by_kind.get(run.preparation)
            if known is None:
                return None
            begins = max([free[0], *(ends.get(need, 0.0) for need in run.needs)])
            had = self._spent.get(name, 0.0) + now - self._began.get(name, now)
            ends[name] = begins + max(0.0, mean(known) - had)
            heapq.heapreplace(free, ends[name])
        return max(free)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
