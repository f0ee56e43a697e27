"""Versions of runs that older code made, which wrote what it knew into `report.md` alone: the only reader of reports.

Everything else sees the `Status` and the rows that are made of them here.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlft.runs import status as statuses
from rlft.runs.identity import Identity
from rlft.runs.iterations import ITERATION, Row
from rlft.runs.old_settings import deciding, read_configuration
from rlft.runs.prose import COLUMNS
from rlft.runs.status import State, Status, places_before


def old_status(version: Path) -> Status | None:
    """The status of a run of older code in a `version_<k>`; `None` if there is none."""
    return _old_status(version, frozenset())


def old_iterations(version: Path) -> list[Row]:
    """The rows of its iterations, as far as the report shows them; numbers have the report's three decimals."""
    table = re.search(r"^## Iterations\n\n(.+?)\n\n", _report(version), re.M | re.S)
    heading, _, *lines = [*table[1].splitlines(), "", ""] if table else ["", ""]
    keys = {name: key for key, name in COLUMNS.items()} | {"iteration": ITERATION}
    names = [keys.get(cell, "") for cell in _cells(heading)]
    return [row for line in lines if ITERATION in (row := dict(_numbers(names, _cells(line))))]


def _old_status(version: Path, followed: frozenset[Path]) -> Status | None:
    """Without going round in circles of checkpoints that have been followed."""
    report = _report(version)
    if not report:
        return None
    configuration = read_configuration(version)
    settings = deciding(configuration)
    checkpoint = str(configuration.get("ckpt_path") or "")
    sentences = re.findall(r"^- (Continues .+)$", report, re.M)
    continues = _continues(version, checkpoint, settings, sentences, followed | {version.resolve()})
    seed = _whole(configuration.get("seed_everything"), -1)
    state, reason = _state(report)
    commit = _fact(report, "commit")
    return Status(
        state=state,
        arguments=_arguments(report),
        started=_fact(report, "started").partition(",")[0],
        heard=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((version / "report.md").stat().st_mtime)),
        iterations=_whole(configuration.get("trainer.max_epochs"), 0),
        done=int([0, *re.findall(r"^\| (\d{1,9}) \|", report, re.M)][-1]),
        seed=seed,
        digest=Identity(settings, seed, continues).digest if settings else "",
        settings=settings,
        continues=continues,
        checkpoint=checkpoint,
        checkpoint_iterations=int([0, *re.findall(r" after iteration (\d{1,9})", "".join(sentences[-1:]))][-1]),
        reason=reason,
        commit=commit.partition(" ")[0],
        dirty=" with uncommitted changes" in commit,
    )


def _continues(
    version: Path, checkpoint: str, settings: Mapping[str, Any], sentences: Sequence[str], followed: frozenset[Path]
) -> str:
    """The digest of the run of other settings before this one.

    Args:
        version: of this run.
        checkpoint: it goes on from, if any.
        settings: that decide its results.
        sentences: what its report says of all checkpoints that it went on from, one after the other.
        followed: versions that it is reached from.
    """
    for place in places_before(version, checkpoint):
        if place not in followed and (before := _old_status(place, followed)) and before.digest:
            return before.continues if before.settings == settings else before.digest
    if all("Nothing else changed." in one for one in sentences):
        return ""
    return Identity({"checkpoint": checkpoint}, seed=-1).digest  # gone, and nobody can tell what it was


def _report(version: Path) -> str:
    """The report of a run of older code; nothing if it is not one."""
    try:
        return "" if (version / statuses.FILE).exists() else (version / "report.md").read_text(errors="replace")
    except OSError:
        return ""


def _state(report: str) -> tuple[State, str]:
    """How the run stands, and why it ended early."""
    lines = report.splitlines()
    happened = lines[2] if len(lines) > 2 else ""
    if happened.startswith("Completed."):
        return "completed", ""
    if happened.startswith("Ended early: "):
        return "ended early", re.sub(r" Deterministic success .*", "", happened.removeprefix("Ended early: "))
    return "running", ""


def _arguments(report: str) -> list[str]:
    found = re.search(r"^- command: `(.*)`$", report, re.M)
    try:
        return shlex.split(found[1])[1:] if found else []
    except ValueError:  # the report was damaged
        return []


def _fact(report: str, name: str) -> str:
    found = re.search(rf"^- {name}: (.*)$", report, re.M)
    return found[1] if found else ""


def _whole(value: Any, otherwise: int) -> int:
    return value if type(value) is int else otherwise


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _numbers(names: list[str], cells: list[str]) -> Iterator[tuple[str, float]]:
    for name, cell in zip(names, cells, strict=False):
        text = cell.replace(",", "")
        if name and re.fullmatch(r"-?\d{1,15}", text):
            yield name, int(text)
        elif name and name != ITERATION and re.fullmatch(r"-?\d{1,15}\.\d+", text):
            yield name, float(text)
