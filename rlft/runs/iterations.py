"""The numbers of a run's iterations: `iterations.jsonl` in its directory, which grows by a line per iteration.

Line 0 is the evaluation of the policy that the run started from. A continued run begins with what was before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rlft.errors import UserError
from rlft.files.atomic import append_line, replacing

FILE = "iterations.jsonl"
ITERATION = "iteration"  # key of the number of complete iterations; the other keys are names of metrics
Row = dict[str, float]  # numbers by name; whole ones are `int`


def write_iterations(version: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Replaces all rows of the run in a `version_<k>`."""
    with replacing(version / FILE) as temporary:
        temporary.write_text("".join(f"{_line(row)}\n" for row in rows))


def append_iteration(version: Path, row: Mapping[str, float]) -> None:
    """Adds the row of an iteration.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    try:
        append_line(version / FILE, _line(row))
    except OSError as error:
        raise UserError(f"{version / FILE} cannot be written: {error.strerror or error}.") from error


def read_iterations(version: Path) -> list[Row]:
    """The rows in their order, without lines that a full disk or an editor has spoiled."""
    try:
        lines = (version / FILE).read_text(errors="replace").splitlines()
    except OSError:
        return []
    return list(_rows(lines))


def _rows(lines: Iterable[str]) -> Iterable[Row]:
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and type(row.get(ITERATION)) is int and all(map(_is_number, row.values())):
            yield row


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(dict(row), default=float)
