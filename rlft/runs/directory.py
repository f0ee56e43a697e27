"""What the directories of a run tell of it, without Lightning."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

LAST_CHECKPOINT = "checkpoints/last.ckpt"
RUNNING, COMPLETED = "Running.", "Completed."  # how a report begins
WHERE_AND_HOW = ("--log_dir=", "--ckpt_path=", "--reset_optimizer=")  # not what is run; the study's record knows


def of_trainer(trainer: Any) -> Path | None:
    """Where a trainer's run is kept; without a logger, or in a `fast_dev_run`, nowhere."""
    return Path(trainer.log_dir) if trainer.loggers and trainer.log_dir and not trainer.fast_dev_run else None


def versions(folder: Path) -> list[Path]:
    """`version_0`, `version_1` and so on: one for each time the run was started."""
    found = [path for path in folder.glob("version_*") if path.name.removeprefix("version_").isdigit()]
    return sorted(found, key=_number)


def new_version(folder: Path) -> Path:
    """The path of the next one."""
    return folder / f"version_{max(map(_number, versions(folder)), default=-1) + 1}"


def versions_of(folder: Path, args: Sequence[str]) -> list[Path]:
    """Those that `rlft` with these arguments made, from the start or going on; not what people made of them by hand."""
    return [path for path in versions(folder) if (made := _command(path)) and _essence(made) == _essence(args)]


def is_complete(version: Path) -> bool:
    """Whether the run in it came to its end."""
    return re.search(rf"^{re.escape(COMPLETED)}", report_text(version), re.M) is not None


def checkpoint(candidates: Sequence[Path]) -> Path | None:
    """The last checkpoint to go on from, if there is one and it is not of the last iteration.

    A run that was killed between that one and its report has no iteration left to do; it begins anew, as does one whose
    configuration cannot be read.
    """
    for version in reversed(candidates):
        if (found := version / LAST_CHECKPOINT).is_file():
            return None if _iterations_done(version) >= _iterations(version) else found
    return None


def share_done(version: Path) -> float:
    """How much of its iterations a run has done, from 0 to 1; 0 if that cannot be read."""
    iterations = _iterations(version)
    return _iterations_done(version) / iterations if iterations else 0.0


def _number(version: Path) -> int:
    return int(version.name.removeprefix("version_"))


def report_text(version: Path) -> str:
    """The report of a run, or nothing if it has none."""
    path = version / "report.md"
    return path.read_text(errors="replace") if path.is_file() else ""


def _command(version: Path) -> list[str]:
    """The arguments of the `rlft` that made it."""
    found = re.search(r"^- command: `(.*)`$", report_text(version), re.M)
    try:
        return shlex.split(found[1])[1:] if found else []
    except ValueError:  # the report was damaged
        return []


def _essence(args: Sequence[str]) -> list[str]:
    """The arguments without where the runs are: a study that was moved or continued is the same."""
    folder = next((arg.removeprefix("--log_dir=") for arg in args if arg.startswith("--log_dir=")), None)
    if folder is not None:
        args = [re.sub(re.escape(folder) + r"/([^/]+)/version_\d+", r"{\1}", arg) for arg in args]
    return [arg for arg in args if not arg.startswith(WHERE_AND_HOW)]


def _iterations_done(version: Path) -> int:
    """The last row of its report; the checkpoint of that iteration follows it."""
    return int([0, *re.findall(r"^\| (\d{1,9}) \|", report_text(version), re.M)][-1])


def _iterations(version: Path) -> int:
    """As the configuration says; 0 if it cannot be read."""
    try:
        return int(yaml.safe_load((version / "config.yaml").read_bytes())["trainer"]["max_epochs"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError):
        return 0
