"""Making the runs of a study: each after those it needs, so many at a time, whatever becomes of the others."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rlft.errors import UserError
from rlft.studies.folder import Outcome, StudyFolder
from rlft.studies.local_jobs import Executor, Job, reason_of
from rlft.studies.plan import PlannedRun

POLL = 0.1  # seconds between looks at what is running


class Reporter(Protocol):
    """Hears of everything that happens to the runs."""

    def begun(self, run: PlannedRun, *, again: bool) -> None:
        """A run was started; `again` if it goes on from a checkpoint."""
        ...

    def tick(self) -> None:
        """Time has passed."""
        ...

    def ended(self, run: PlannedRun, outcome: Outcome, seconds: float) -> None:
        """A run ended, or will not begin, or was complete before."""
        ...


@dataclass
class _Running:
    run: PlannedRun
    job: Job
    started: float
    checkpoint: Path | None  # that it went on from


class Scheduler:
    """Makes all runs of a study.

    Args:
        folder: of the study.
        start: starts a run.
        reporter: hears of it.
        jobs: so many at a time.
        threads: of each.
        stops: how often the person has asked to stop: once ends the runs at a safe point, twice at once.
    """

    def __init__(
        self,
        folder: StudyFolder,
        start: Executor,
        reporter: Reporter,
        jobs: int,
        threads: int,
        stops: Callable[[], int],
    ) -> None:
        self.folder = folder
        self.outcomes = {name: Outcome() for name in folder.runs}
        self._start = start
        self._reporter = reporter
        self._jobs = jobs
        self._threads = threads
        self._stops = stops
        self._answered = 0  # requests to stop that the runs have heard of
        self._running: list[_Running] = []

    def run(self) -> dict[str, Outcome]:
        """Runs until nothing is left that can be made.

        Returns:
            How every run ended.
        """
        for run in self.folder.runs.values():
            if result := self.folder.result(run):
                self._settle(run, Outcome("completed", version=result.name), 0.0)
        while self._waiting() or self._running:
            self._stop_if_asked()
            self._begin_what_can()
            if not self._running:
                break
            time.sleep(POLL)
            self._collect()
            self._reporter.tick()
        return self.outcomes

    def _waiting(self) -> list[PlannedRun]:
        return [run for name, run in self.folder.runs.items() if self.outcomes[name].status == "waiting"]

    def _begin_what_can(self) -> None:
        for run in self._waiting():  # after those it needs, of which some may be settled in this very loop
            needs = {name: self.outcomes[name].status for name in run.needs}
            lost = [name for name, status in needs.items() if status in ("failed", "not run")]
            if lost:
                self._settle(run, Outcome("not run", f"It needs {lost[0]}."), 0.0)
            elif (
                all(s == "completed" for s in needs.values()) and len(self._running) < self._jobs and not self._stops()
            ):
                self._begin(run)

    def _begin(self, run: PlannedRun) -> None:
        checkpoint = self.folder.checkpoint(run)
        try:
            args, threads = self.folder.begin(run, self._threads)
            job = self._start(args, self.folder.log(run), threads)
        except (UserError, OSError) as error:
            self._settle(run, Outcome("failed", str(error)), 0.0)
            return
        self._running.append(_Running(run, job, time.monotonic(), checkpoint))
        self._reporter.begun(run, again=checkpoint is not None)
        self._note(run, Outcome("running"))

    def _collect(self) -> None:
        """Settles what has ended."""
        for one in list(self._running):
            status = one.job.poll()
            if status is None:
                continue
            self._running.remove(one)
            seconds = time.monotonic() - one.started
            try:
                self.folder.end(one.run, seconds, succeeded=status == 0)
                outcome = self._outcome(one, status)
            except UserError as error:  # somebody has removed its folder meanwhile
                outcome = Outcome("failed", str(error))
            self._settle(one.run, outcome, seconds)

    def _outcome(self, one: _Running, status: int) -> Outcome:
        run = one.run
        if result := self.folder.result(run):
            return Outcome("completed", version=result.name)
        if self._stops():
            return Outcome("interrupted")
        if status == -signal.SIGUSR1:
            if self.folder.checkpoint(run) == one.checkpoint:
                return Outcome("failed", "Its time was over before another iteration was complete.")
            return Outcome("waiting", "Its time was over.")
        return Outcome("failed", reason_of(status, self.folder.log(run)))

    def _stop_if_asked(self) -> None:
        stops = self._stops()
        if stops > self._answered:
            self._answered = stops
            for one in self._running:
                one.job.terminate() if stops == 1 else one.job.kill()

    def _settle(self, run: PlannedRun, outcome: Outcome, seconds: float) -> None:
        self._note(run, outcome)
        self._reporter.ended(run, outcome, seconds)

    def _note(self, run: PlannedRun, outcome: Outcome) -> None:
        self.outcomes[run.name] = outcome
        self.folder.write_manifest(self.outcomes)
