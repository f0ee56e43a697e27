"""What a study says while it runs: a line for each run that begins or ends, and a bar where there is a terminal."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rlft.studies.folder import Outcome
from rlft.studies.plan import PlannedRun

TICK = 10.0  # seconds between two looks at what the runs have done


class StudyProgress:
    """Prints; use as a context.

    Args:
        runs: all of the study.
        jobs: how many run at a time.
        spent: seconds that each run has had already, by name.
        complete: names of those that are complete: what runs of their arm are expected to take.
        share_done: how much of a run is done, from 0 to 1.
        told: what is to be added on a run that ended.
    """

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        jobs: int,
        spent: Mapping[str, float],
        complete: Collection[str],
        share_done: Callable[[PlannedRun], float],
        told: Callable[[PlannedRun, Outcome], str],
    ) -> None:
        self._runs = {run.name: run for run in runs}
        self._jobs = jobs
        self._took = {name: seconds for name, seconds in spent.items() if seconds and name in complete}
        self._share_done = share_done
        self._told = told
        self._started = self._ticked = time.monotonic()
        self._spent = dict(spent)  # in however many pieces
        self._began: dict[str, float] = {}  # when, of those that are running
        self._ended: set[str] = set()
        self._kept = 0  # were complete before
        self._console = Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False)
        self._progress: Progress | None = None

    def __enter__(self) -> StudyProgress:
        """Opens the bar."""
        if sys.stdout.isatty():
            columns = (BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}"))
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

    def tick(self) -> None:
        """Renews the bar."""
        if self._progress and time.monotonic() - self._ticked >= TICK:
            self._ticked = time.monotonic()
            self._renew()

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
        told = self._told(run, outcome)
        self._say(f"{run.name} {outcome.status}{after}{', ' if told else ''}{told}{reason}")

    def _say(self, text: str) -> None:
        left = self._renew()
        self._console.print(f"[{self._count()}] {text}  ({_clock(time.monotonic() - self._started)}{left})")

    def _renew(self) -> str:
        """Brings the bar up to date; what is said of the time that is left."""
        remaining = self._remaining()
        left = f", about {_clock(remaining)} left" if remaining is not None else ""
        if self._progress:
            self._progress.update(self._task, completed=len(self._ended), description=f"{self._count()}{left}")
        return left

    def _count(self) -> str:
        return f"{len(self._ended)}/{len(self._runs)}"

    def _remaining(self) -> float | None:
        """Seconds until the last of the runs will end, as far as one can say after what is done.

        A run is expected to take what others of its arm took, or else what other preparations, or other runs, took;
        those that are running count as well, once an iteration is done.
        """
        now = time.monotonic()
        had = dict(self._spent)
        took = dict(self._took)
        for name, began in self._began.items():
            had[name] = had.get(name, 0.0) + now - began
            if share := self._share_done(self._runs[name]):
                took[name] = had[name] / share
        by_arm: dict[str, list[float]] = {}
        by_kind: dict[bool, list[float]] = {}
        for name, seconds in took.items():
            by_arm.setdefault(self._runs[name].arm, []).append(seconds)
            by_kind.setdefault(self._runs[name].preparation, []).append(seconds)
        free, ends = [0.0] * self._jobs, dict[str, float]()  # when each place becomes free, and each run ends
        left = [name for name in self._runs if name not in self._ended]  # each after those it needs
        for name in sorted(left, key=lambda name: name not in self._began):
            run = self._runs[name]
            known = by_arm.get(run.arm) or by_kind.get(run.preparation)
            if known is None:
                return None
            begins = max([free[0], *(ends.get(need, 0.0) for need in run.needs)])
            ends[name] = begins + max(0.0, mean(known) - had.get(name, 0.0))
            heapq.heapreplace(free, ends[name])
        return max(free)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
