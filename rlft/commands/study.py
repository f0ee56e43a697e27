"""`rlft study`: many runs that a file describes, made once, in any number of sittings."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from rlft.commands.arguments import parse
from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.files.own_configs import STUDIES, config_path
from rlft.studies.folder import Outcome, StudyFolder, locked
from rlft.studies.local_jobs import Executor, local_executor, threads_of_each
from rlft.studies.narration import StudyProgress
from rlft.studies.plan import plan, repeats
from rlft.studies.ray_jobs import ray_executor
from rlft.studies.scheduler import Scheduler
from rlft.studies.slurm_jobs import slurm_executor
from rlft.studies.study_file import read_study

Cluster = Literal["local", "slurm", "ray"]


def study(
    file: str,
    jobs: int = 1,
    dry_run: bool = False,
    log_dir: str = "lightning_logs",
    executor: Cluster = "local",
    executor_options: dict[str, Any] | None = None,
) -> None:
    """Makes all runs of a study that are not complete yet; those that were interrupted go on.

    Args:
        file: the study's YAML file, or the name of one of rlft's own, which show what it can say.
        jobs: runs at a time; on this machine, the processor cores (threads and workers) are shared out among them.
        dry_run: only print what would be run.
        log_dir: the runs go to a folder in it that is named after the study.
        executor: where runs are made: on this machine, as jobs of SLURM (by submitit), or on a Ray cluster.
        executor_options: what each job asks for: submitit's options for SLURM, as `{timeout_min: 240, cpus_per_task: 4,
            slurm_partition: gpu}`, or those of Ray's actors, as `{num_cpus: 4}`.

    Raises:
        UserError: if the file is wrong, its folder holds something else, there is no such cluster, or runs failed.
    """
    if jobs < 1:
        raise UserError(f"jobs is {jobs}; it must be at least 1.")
    if executor == "local" and executor_options:
        raise UserError("executor_options are for --executor slurm or ray.")
    read = read_study(config_path(file, STUDIES))
    runs = plan(read)
    for message in repeats(runs):
        print(f"# {message}")
    path = typed_path(log_dir) / read.name
    folder = StudyFolder(path, read.name, runs)
    _refuse_wrong_configurations(folder, file, quiet=dry_run)
    if dry_run:
        _print_plan(folder)
        return
    with _counting_signals() as signals, locked(path) as lock:
        folder = StudyFolder(path, read.name, runs)  # as it is now that nobody else writes to it
        start, threads = _executor(executor, executor_options or {}, path, jobs, lock)
        spent = {run.name: folder.seconds(run) for run in runs}
        complete = {run.name for run in runs if folder.result(run)}
        with StudyProgress(runs, jobs, spent, complete, folder.share_done, folder.outcome_told) as progress:
            scheduler = Scheduler(folder, start, progress, jobs, threads, lambda: len(signals))
            outcomes = scheduler.run()
    if signal.SIGINT in signals:
        raise KeyboardInterrupt
    _report_outcomes(outcomes, path, interrupted=bool(signals))


def _refuse_wrong_configurations(folder: StudyFolder, file: str, *, quiet: bool) -> None:
    """Looks at one run of every arm that has runs to make: a mistake should not wait until it is the arm's turn.

    Raises:
        UserError: if one of them cannot be run.
    """
    to_make = [run for run in folder.runs.values() if run.is_fit and not folder.result(run)]
    arms = {" on ".join(filter(None, (run.arm, run.task))): run for run in to_make}
    if not arms:
        return
    if not quiet:
        print("Looking at the configuration of every arm", flush=True)
    command = [sys.executable, "-m", "rlft.training.config_check"]  # a study that runs for days does without Lightning
    arguments = json.dumps({arm: folder.arguments(run) for arm, run in arms.items()})
    done = subprocess.run(command, input=arguments, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{file}: its configurations cannot be looked at: {(done.stderr.splitlines() or ['-'])[-1]}.")
    wrong = json.loads(done.stdout.splitlines()[-1])
    for arm, message in wrong.items():
        others = f" {len(wrong) - 1} more of its arms are refused." if len(wrong) > 1 else ""
        raise UserError(f"{file}: {arm}: {message}{others}")


def _executor(name: Cluster, options: Mapping[str, Any], study: Path, jobs: int, lock: int) -> tuple[Executor, int]:
    """What starts runs, and how many threads each gets."""
    if name == "slurm":
        return slurm_executor(study, options), int(options.get("cpus_per_task") or 1)
    if name == "ray":
        return ray_executor(options), math.ceil(options.get("num_cpus") or 1)  # Ray gives fractions of a core
    return local_executor(lock), threads_of_each(jobs)


def _print_plan(folder: StudyFolder) -> None:
    """The commands in their order; directories that do not exist yet are placeholders in them."""
    for run in folder.runs.values():
        state = "complete" if folder.result(run) else "goes on" if folder.checkpoint(run) else "begins"
        after = f" after {', '.join(run.needs)}" if run.needs else ""
        print(f"# {run.name}: {state}{after}\n{shlex.join(['rlft', *folder.arguments(run)])}")


def _report_outcomes(outcomes: dict[str, Outcome], path: Path, *, interrupted: bool) -> None:
    """Says what came of it.

    Raises:
        UserError: if there are runs that are not complete.
    """
    missing = {name: outcome for name, outcome in outcomes.items() if outcome.status != "completed"}
    if not missing:
        print(f"All {len(outcomes)} runs of {path} are complete.")
        return
    if interrupted:
        raise UserError(f"Ended by a signal; the same command goes on with {len(missing)} of {len(outcomes)} runs.")
    for name, outcome in missing.items():
        print(f"{name} {outcome.status}: {outcome.reason}")
    raise UserError(
        f"{len(missing)} of {len(outcomes)} runs failed or were not run; what they said is in {path}/<run>/output.log, "
        "and the same command tries them again."
    )


@contextmanager
def _counting_signals() -> Iterator[list[int]]:
    """Collects Ctrl-C, SIGTERM and SLURM's SIGUSR1, so that runs can be ended in order."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        message = b"Runs end at a safe point; once more ends them now.\n" if len(received) == 1 else b"Runs end now.\n"
        os.write(2, message)  # print() may be what was interrupted

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(args: Sequence[str]) -> None:
    """Runs `rlft study` with command-line arguments."""
    study(**parse(study, "rlft study", "Makes the runs of a study, and goes on where it was interrupted.", args))
