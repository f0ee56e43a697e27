"""Paths as they are typed, and the folder that a command writes its files into."""

from __future__ import annotations

import os
from pathlib import Path

from rlft.errors import UserError


def typed_path(name: str) -> Path:
    """What is meant by a path, `~` being the home folder: no shell reads configs, and bash leaves `--out=~/films`."""
    return Path(os.path.expanduser(name))


def check_folder(out: str, *written: str) -> Path:
    """Looks whether `--out` can be a folder, before there is anything to write.

    Args:
        out: its name.
        written: endings of the files that go into it, such as `.png`; a name with one of them is meant for a file.

    Raises:
        UserError: if it is the name of a file, or none.
    """
    if not out:
        raise UserError("--out is empty; name a folder for the files.")
    path = typed_path(out)
    if path.suffix.lower() in written and not path.is_dir():
        raise UserError(f"--out {out} is the folder that files go into; name one such as {path.with_suffix('')}.")
    taken = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not taken.is_dir():
        raise UserError(f"--out {out} cannot be made a directory: {taken} is a file.")
    return path


def output_folder(out: str, *written: str) -> Path:
    """Makes the folder that `--out` names.

    Raises:
        UserError: if it cannot be made, or is the name of a file; see `check_folder`.
    """
    path = check_folder(out, *written)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be made a directory: {error.strerror}.") from error
    return path
