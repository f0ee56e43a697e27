"""Runs as jobs of SLURM, through submitit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlft.errors import UserError, one_line
from rlft.studies.local_jobs import Executor, Job, note_end, start_process

FOLDER = "submitit"  # in the study's: what submitit writes
JOB_ID = "slurm_job"  # file in a run's folder: a study that was killed finds the job there that it has left
WARNING = signal.SIGUSR1  # that SLURM sends before it ends a job; `rlft fit` ends at a safe point then
CHECKED = 5.0  # seconds between questions to SLURM about a job that was cancelled


class _Rlft:
    """What a job does; submitit pickles it.

    Args:
        args: of rlft.
        log: file for its output.
        threads: of the run, and how many workers it has by default.
    """

    def __init__(self, args: Sequence[str], log: Path, threads: int) -> None:
        self.args, self.log, self.threads = args, log, threads

    def __call__(self) -> int:
        """Runs it to its end; the exit status, or -SIGUSR1 if SLURM had given its warning."""
        warned: list[int] = []
        # submitit's own answer would queue the job again as it was, without the checkpoint it can go on from now.
        signal.signal(WARNING, lambda number, frame: warned.append(number))
        status = start_process(self.args, self.log, self.threads).wait()
        return -WARNING if warned else status


class _SlurmJob:
    """A job of SLURM as the scheduler sees it.

    Args:
        job: of submitit.
        log: file with the run's output.
    """

    def __init__(self, job: Any, log: Path) -> None:
        self._job = job
        self._log = log
        self._asked: float | None = None  # when it was cancelled, and when SLURM was last asked about that
        self._given_up = False

    def poll(self) -> int | None:
        """The exit status, once it has ended."""
        from submitit.core.utils import FailedJobError, UncompletedJobError

        if self._given_up:
            return -signal.SIGKILL
        force = self._asked is not None and time.monotonic() - self._asked > CHECKED
        if force:
            self._asked = time.monotonic()
        if not self._job.done(force_check=force):
            return None
        try:
            return int(self._job.result())
        except (FailedJobError, UncompletedJobError):
            note_end(self._log, f"Job {self._job.job_id} ended without a result: {self._job.state}.")
            return 1

    def terminate(self) -> None:
        """Cancels it: SIGTERM, and what still runs after SLURM's KillWait is killed."""
        self._asked = time.monotonic()
        self._job.cancel(check=False)

    def kill(self) -> None:
        """Waits no longer for what SLURM makes of that."""
        self._given_up = True


def slurm_executor(study: Path, options: Mapping[str, Any], cluster: str = "slurm") -> Executor:
    """Starts runs as jobs of SLURM.

    Args:
        study: the study's folder, on a file system that the nodes share.
        options: submitit's: `timeout_min`, `cpus_per_task`, `mem_gb`, `gpus_per_node`, `slurm_partition` and others.
        cluster: `slurm`, or `local` for submitit's jobs on this machine.

    Raises:
        UserError: if submitit is not installed, there is no SLURM, or it does not know an option.
    """
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = WARNING.name.removeprefix("SIG")  # read when submitit is imported
    try:
        import submitit
    except ImportError as error:
        raise UserError("--executor slurm needs submitit; pip install 'rlft[slurm]'.") from error
    try:
        executor = submitit.AutoExecutor(study / FOLDER, cluster=cluster)
        executor.update_parameters(**{"name": study.name, **options})
    except Exception as error:  # submitit has no errors of its own for these
        message = f"submitit cannot use SLURM with executor_options {dict(options)}: {one_line(error)}"
        raise UserError(message) from error

    def start(args: Sequence[str], log: Path, threads: int) -> Job:
        note = log.with_name(JOB_ID)
        if cluster == "slurm" and note.is_file():
            left = submitit.SlurmJob(study / FOLDER, note.read_text().strip())
            if not left.done():
                return _SlurmJob(left, log)
        try:
            job = executor.submit(_Rlft(args, log.absolute(), threads))
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"SLURM does not take the job: {one_line(error)}") from error
        note.write_text(job.job_id)
        return _SlurmJob(job, log)

    return start
