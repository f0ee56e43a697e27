"""The folder of a study: what is made, what is left to do, and who is at work in it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rlft.errors import UserError
from rlft.runs.directory import (
    checkpoint_to_continue,
    iterations_of,
    judged_by,
    new_version,
    versions,
    versions_by_arguments,
)
from rlft.runs.prose import first_to_last
from rlft.runs.status import Status
from rlft.runs.study_manifest import ManifestEntry, StudyManifest, write_manifest
from rlft.studies.plan import PlannedRun
from rlft.studies.record import Record, planned_record, read_record, write_record
from rlft.studies.study_file import HERE, PLACEHOLDER

OUTPUT = "output.log"
LOCK = ".lock"


@dataclass(frozen=True)
class Outcome:
    """How a run stands."""

    status: str = "waiting"  # then running; at the end completed, failed, interrupted or not run
    reason: str = ""  # of the last three
    version: str = ""  # `version_<k>` of a complete run


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Makes the folder of a study and keeps other studies out of it.

    Yields:
        The open lock: processes that inherit it keep the folder locked until they end, whatever becomes of this one.

    Raises:
        UserError: if another process has it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / LOCK).open("w")
    except OSError as error:
        raise UserError(f"Cannot write into {path}: {error.strerror}; choose another --log_dir.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"Another rlft study is at work in {path}, or a run that one has left.") from error
        try:
            yield file.fileno()
        except BaseException:
            if [one.name for one in path.glob("*")] == [LOCK]:  # it was refused before anything was made
                Path(file.name).unlink()
                path.rmdir()
            raise


class StudyFolder:
    """Everything a study writes is in one folder; what is complete in it is never made again.

    Args:
        path: the folder, which need not exist.
        name: of the study.
        runs: all of them, each after those it needs.

    Raises:
        UserError: if the folder holds runs that were made with something else.
    """

    def __init__(self, path: Path, name: str, runs: Sequence[PlannedRun]) -> None:
        self.path = path
        self.name = name
        self.runs = {run.name: run for run in runs}
        self._planned: dict[str, Record] = {}
        for run in runs:
            self._planned[run.name] = planned_record(run, self._planned)
        self._refuse_others()

    def result(self, run: PlannedRun) -> Path | None:
        """The directory of the run if it is complete."""
        record = read_record(self._folder(run))
        if record is None:
            return None
        if not run.is_fit:
            return self._folder(run) / record.directory if record.succeeded else None
        return next((path for path, one in reversed(self._versions(run).items()) if one.is_complete), None)

    def seconds(self, run: PlannedRun) -> float:
        """How long it has run."""
        record = read_record(self._folder(run))
        return record.seconds if record else 0.0

    def share_done(self, run: PlannedRun) -> float:
        """How much of it is done, from 0 to 1, as far as that is known before its end."""
        found = list(self._versions(run).values()) if run.is_fit else []
        return found[-1].done / found[-1].iterations if found and found[-1].iterations > 0 else 0.0

    def outcome_told(self, run: PlannedRun, outcome: Outcome) -> str:
        """What a line about the end of a run adds: what training has changed, or where a failed one has its output."""
        if outcome.status == "failed" and self.log(run).is_file():
            return f"see {self.log(run)}"
        if outcome.status != "completed" or not run.is_fit:
            return ""
        version = self._folder(run) / outcome.version
        return first_to_last(iterations_of(version), judged_by(version))

    def checkpoint(self, run: PlannedRun) -> Path | None:
        """What a run that was interrupted goes on from, if it can."""
        return checkpoint_to_continue(self._versions(run)) if run.is_fit and run.continues else None

    def arguments(self, run: PlannedRun) -> list[str]:
        """Arguments for `rlft` to begin the run or to go on; what is not made yet stands as a placeholder."""
        args = self._resolved(run)
        if found := self.checkpoint(run):
            args.append(f"--ckpt_path={found}")
            if any(arg.startswith("--reset_optimizer=") for arg in args):  # meant for the checkpoint of another run
                args.append("--reset_optimizer=false")
        return args

    def begin(self, run: PlannedRun, threads: int) -> tuple[list[str], int]:
        """Notes that a run begins or goes on.

        Returns:
            Arguments for `rlft`, and how many threads it gets.

        Raises:
            UserError: if a config has changed since the study was started.
        """
        planned = self._planned[run.name]
        if planned_record(run, self._planned) != planned:
            raise UserError("A config has changed since the study was started; start it again.")
        record = read_record(self._folder(run))
        if record is None or record.difference(planned):  # of the latter, nothing has been made yet
            record = replace(planned, threads=threads)
        args = self.arguments(run)
        if not run.is_fit:
            directory = new_version(self._folder(run))
            directory.mkdir(parents=True)
            record = replace(record, directory=directory.name)
        write_record(self._folder(run), replace(record, succeeded=False))
        return args, record.threads

    def end(self, run: PlannedRun, seconds: float, *, succeeded: bool) -> None:
        """Notes that a run has ended."""
        record = read_record(self._folder(run))
        if record is not None:  # else somebody has removed the folder meanwhile
            write_record(self._folder(run), replace(record, seconds=record.seconds + seconds, succeeded=succeeded))

    def log(self, run: PlannedRun) -> Path:
        """Where its output goes."""
        return self._folder(run) / OUTPUT

    def write_manifest(self, outcomes: Mapping[str, Outcome]) -> None:
        """Writes `study.json`, which says what the folder holds."""
        entries = tuple(_entry(run, outcomes[run.name]) for run in self.runs.values())
        write_manifest(self.path, StudyManifest(self.name, entries))

    def _folder(self, run: PlannedRun) -> Path:
        return self.path / run.name

    def _versions(self, run: PlannedRun) -> dict[Path, Status]:
        return versions_by_arguments(self._folder(run), [*run.args, f"--run_name={run.name}"])

    def _resolved(self, run: PlannedRun) -> list[str]:
        """The arguments with directories for placeholders."""
        paths = {name: str(path) for name in run.needs if (path := self.result(self.runs[name]))}
        paths[HERE] = str(new_version(self._folder(run)))
        args = [PLACEHOLDER.sub(lambda match: paths.get(match[1], match[0]), arg) for arg in run.args]
        return args + ([f"--log_dir={self.path}", f"--run_name={run.name}"] if run.is_fit else [])

    def _refuse_others(self) -> None:
        """What was made with something else than the study now says is never mixed with what it would make."""
        different = {}
        for name, run in self.runs.items():
            record = read_record(self._folder(run))
            made = record is not None and (versions(self._folder(run)) if run.is_fit else record.succeeded)
            if record is not None and made and (difference := record.difference(self._planned[name])):
                different[name] = difference
        if different:
            name, difference = next(iter(different.items()))
            others = f", and {len(different) - 1} more are like that" if len(different) > 1 else ""
            raise UserError(
                f"{self.path / name} was made with {difference}{others}; undo the change, remove the folders of these "
                "runs to make them anew, or give the study another name."
            )


def _entry(run: PlannedRun, outcome: Outcome) -> ManifestEntry:
    return ManifestEntry(
        arm=run.arm,
        seed=run.seed,
        run=run.name,
        preparation=run.preparation,
        status=outcome.status,
        needs=run.needs,
        reason=outcome.reason,
        version=outcome.version,
        task=run.task,
        expert=run.expert,
    )
