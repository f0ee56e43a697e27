"""The log of all runs in a log directory: an index that only grows, and a page that is made from it.

`index.jsonl` has a line for every start of a run and for every note. `log.md` is made anew from these lines and from
the runs' own records whenever a run begins, ends or gets a note; making it again changes nothing.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.files.atomic import append_line, replacing
from rlft.runs.directory import iterations_of, status_of, versions
from rlft.runs.prose import iteration_table, what_happened

INDEX, PAGE = "index.jsonl", "log.md"
START = {"run", "time", "command", "commit", "dirty"}
NOTE = {"run", "time", "note"}


def add_start(version: Path, command: str, commit: str, dirty: bool) -> None:
    """Adds the start of the run whose directory is `<log directory>/<run>/version_<k>`."""
    _append(version.parent.parent, _name(version), {"command": command, "commit": commit, "dirty": dirty})


def add_note(run: Path, text: str) -> Path:
    """Adds a note to a run, given by its directory or by that of one of its versions, of which the newest is meant.

    Returns:
        The page, with the note on it.

    Raises:
        UserError: if there is no such run in the log.
    """
    version = [run, *versions(run)][-1].resolve()
    folder = version.parent.parent
    if _name(version) not in {entry["run"] for entry in _entries(folder)}:
        raise UserError(f"{run} is no run that an {INDEX} beside it knows; name one such as lightning_logs/<run>.")
    if not text.strip():
        raise UserError("The note is empty; say something of the run.")
    _append(folder, _name(version), {"note": " ".join(text.split())})
    return write_page(folder)


def write_page(folder: Path) -> Path:
    """Makes the page of a log directory anew, the newest run first.

    Raises:
        UserError: if no run has been logged there.
    """
    with _locked(folder):
        starts: dict[str, Mapping[str, Any]] = {}
        notes: dict[str, list[Mapping[str, Any]]] = {}
        for entry in _entries(folder):
            if "note" in entry:
                notes.setdefault(entry["run"], []).append(entry)
            else:
                starts[entry["run"]] = entry
        if not starts:
            raise UserError(f"{folder / INDEX} tells of no runs; `rlft fit` with --log_dir {folder} begins it.")
        parts = [_part(folder / run, start, notes.get(run, [])) for run, start in reversed(starts.items())]
        with replacing(folder / PAGE) as temporary:
            page = "\n\n".join(["# Runs, the newest first", *parts]) + "\n"
            temporary.write_text(page, errors="replace")  # a command or a note may hold bytes that are no text
    return folder / PAGE


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits for whoever else makes the page: of two that end together, the one that read less must not write last."""
    if not (folder / INDEX).is_file():
        yield
        return
    with (folder / INDEX).open() as index:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(index, fcntl.LOCK_EX)
        yield


def _part(version: Path, start: Mapping[str, Any], notes: list[Mapping[str, Any]]) -> str:
    """What the page says of one run."""
    dirty = " with uncommitted changes" if start["dirty"] else ""
    told = [f"- note of {note['time']}: {note['note']}" for note in notes]
    facts = [f"- started: {start['time']}", f"- command: `{start['command']}`", f"- commit: {start['commit']}{dirty}"]
    happened, *table = _records(version)
    return "\n\n".join([f"## {start['run']}", happened, "\n".join([*facts, *told]), *table])


def _records(version: Path) -> list[str]:
    """How the run stands, and the table of its iterations if there are any."""
    if not version.is_dir():
        return ["Its folder is gone."]
    status, rows = status_of(version), iterations_of(version)
    happened = what_happened(status, rows) if status else "It has no status that can be read."
    return [happened, *(["\n".join(iteration_table(rows))] if rows else [])]


def _name(version: Path) -> str:
    return f"{version.parent.name}/{version.name}"


def _append(folder: Path, run: str, entry: Mapping[str, Any]) -> None:
    line = json.dumps({"run": run, "time": time.strftime("%Y-%m-%d %H:%M:%S"), **entry})
    append_line(folder / INDEX, line)


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the index, without those that a full disk or an editor has spoiled: a run does not fail for them."""
    path = folder / INDEX
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or not (entry.keys() >= START or entry.keys() >= NOTE):
            continue
        if all(isinstance(entry[key], bool if key == "dirty" else str) for key in (START | NOTE) & entry.keys()):
            yield entry
