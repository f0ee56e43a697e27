"""The directories of a run: `<run>/version_<k>`, one for each time that it was started."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlft.runs.iterations import Row, read_iterations
from rlft.runs.old_reports import old_iterations, old_status
from rlft.runs.old_settings import read_configuration
from rlft.runs.status import Status, read_status

LAST_CHECKPOINT = "checkpoints/last.ckpt"
PLACES = ("--log_dir=", "--ckpt_path=", "--reset_optimizer=")  # where a run is and how it goes on, not what it is


def of_trainer(trainer: Any) -> Path | None:
    """Where the first learner keeps a trainer's run; without a logger, or in a `fast_dev_run`, nowhere."""
    if not trainer.loggers or trainer.fast_dev_run or not trainer.is_global_zero:
        return None
    logger = trainer.loggers[0]  # to ask for `trainer.log_dir` is to wait for all learners
    where = getattr(logger, "log_dir", None) or logger.save_dir
    return Path(where) if where else None


def versions(folder: Path) -> list[Path]:
    """`version_0`, `version_1` and so on, in the order of their numbers."""
    return sorted((path for path in folder.glob("version_*") if is_version(path)), key=version_number)


def is_version(path: Path) -> bool:
    """Whether it is called like a version of a run."""
    return re.fullmatch(r"version_\d+", path.name) is not None


def version_number(version: Path) -> int:
    """The number in its name."""
    return int(version.name.removeprefix("version_"))


def new_version(folder: Path) -> Path:
    """The path of the next one."""
    return folder / f"version_{max(map(version_number, versions(folder)), default=-1) + 1}"


def status_of(version: Path) -> Status | None:
    """The status of the run in a `version_<k>`, of whichever code; `None` if there is none that can be read."""
    return read_status(version) or old_status(version)


def iterations_of(version: Path) -> list[Row]:
    """The rows of its iterations; empty if there are none."""
    return read_iterations(version) or old_iterations(version)


def judged_by(version: Path) -> str:
    """The metric that decides which policy of the run is its best."""
    return str(read_configuration(version).get("checkpoint.monitor") or "eval/success_rate")


def versions_by_arguments(folder: Path, arguments: Sequence[str]) -> dict[Path, Status]:
    """Those versions that `rlft` with these arguments made, from the start or going on, in their order.

    What people made of a run by hand, with other arguments, is not among them. Where the runs are does not matter: a
    study that was moved or continued is the same.
    """
    found = {version: status for version in versions(folder) if (status := status_of(version))}
    asked = _without_places(arguments)
    return {version: one for version, one in found.items() if one.arguments and _without_places(one.arguments) == asked}


def checkpoint_to_continue(found: dict[Path, Status]) -> Path | None:
    """The last checkpoint to go on from, if there is one and it is not of the last iteration.

    A run that was killed between that one and its end has no iteration left to do; it begins anew.
    """
    for version, status in reversed(found.items()):
        if (path := version / LAST_CHECKPOINT).is_file():
            return None if status.done >= status.iterations else path
    return None


def _without_places(arguments: Sequence[str]) -> list[str]:
    """The arguments without where the runs are; a version of another run in the log directory stands as that run."""
    log_dir = next((arg.removeprefix("--log_dir=") for arg in arguments if arg.startswith("--log_dir=")), None)
    if log_dir is not None:
        version = re.escape(log_dir) + r"/([^/]+)/version_\d+"
        arguments = [re.sub(version, r"{\1}", argument) for argument in arguments]
    return [argument for argument in arguments if not argument.startswith(PLACES)]
