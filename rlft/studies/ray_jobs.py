"""Runs as actors on a Ray cluster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlft.errors import UserError, one_line
from rlft.studies.local_jobs import Executor, Job, note_end, start_process


class _Rlft:
    """The actor: one run as a child of a Ray worker, with which it ends.

    Args:
        directory: in which the study was started.
        args: of rlft.
        log: file for its output.
        threads: of the run, and how many workers it has by default.
    """

    def __init__(self, directory: str, args: Sequence[str], log: Path, threads: int) -> None:
        os.chdir(directory)
        self._process: subprocess.Popen[bytes] = start_process(args, log, threads)

    def wait(self) -> int:
        """Its exit status."""
        return self._process.wait()

    def end(self, *, at_once: bool) -> None:
        """Asks it to end at a safe point, or ends it."""
        self._process.kill() if at_once else self._process.terminate()


class _RayJob:
    """An actor as the scheduler sees it.

    Args:
        ray: the module.
        actor: handle of a `_Rlft`.
        log: file with the run's output.
    """

    def __init__(self, ray: Any, actor: Any, log: Path) -> None:
        self._ray = ray
        self._actor = actor
        self._log = log
        self._status = actor.wait.remote()

    def poll(self) -> int | None:
        """The exit status, once it has ended."""
        ready, _ = self._ray.wait([self._status], timeout=0)
        if not ready:
            return None
        try:
            return int(self._ray.get(self._status))
        except self._ray.exceptions.RayError as error:
            note_end(self._log, f"Ray lost it: {one_line(error)}")
            return 1

    def terminate(self) -> None:
        """Asks it to end at a safe point; one that still waits for a place never begins."""
        self._end(at_once=False)

    def kill(self) -> None:
        """Ends it now."""
        self._end(at_once=True)

    def _end(self, *, at_once: bool) -> None:
        heard = self._actor.end.remote(at_once=at_once)
        if not self._ray.wait([heard], timeout=5)[0]:
            self._ray.kill(self._actor)


def ray_executor(options: Mapping[str, Any]) -> Executor:
    """Starts runs on the Ray cluster of RAY_ADDRESS, or on this machine.

    Args:
        options: of Ray's actors: `num_cpus`, `num_gpus`, `resources` and others.

    Raises:
        UserError: if Ray is not installed, cannot be reached, or does not know an option.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError("--executor ray needs Ray; pip install 'rlft[ray]'.") from error
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="warning")
        actor = ray.remote(_Rlft).options(**{"num_cpus": 1, **options, "max_concurrency": 2})
    except Exception as error:  # Ray's are of many kinds
        raise UserError(f"Ray cannot be used with executor_options {dict(options)}: {one_line(error)}") from error

    def start(args: Sequence[str], log: Path, threads: int) -> Job:
        return _RayJob(ray, actor.remote(os.getcwd(), list(args), log.absolute(), threads), log)

    return start
