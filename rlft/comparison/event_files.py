"""Scalars out of TensorBoard's event files, whichever tool wrote them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

from rlft.errors import UserError

Scalars = dict[str, dict[int, float]]  # tag: step: value, in the order of steps

FRAME = 16  # bytes around every record: its length and two checksums
ITERATION_TAGS = ("time/iteration", "charts/SPS")  # logged once per iteration: by rlft; by ManiSkill and CleanRL


def event_files(folder: Path) -> list[Path]:
    """Event files anywhere below, in the order in which they were begun."""
    # A resumed run of rlft goes on in the next `version_<k>`; the names of event files begin with their time.
    return sorted(folder.rglob("*.tfevents.*"), key=lambda path: (_version(path.relative_to(folder)), path.name))


def read_scalars(path: Path) -> tuple[Scalars, int]:
    """The scalars of one event file, and how many bytes at its end cannot be read.

    Raises:
        UserError: if the file cannot be opened.
    """
    scalars: Scalars = {}
    size = read = 0
    try:
        size = path.stat().st_size
        for record in RawEventFileLoader(str(path)).Load():  # stops at the first record that fails its checksum
            read += len(record) + FRAME
            event = Event.FromString(record)
            for value in event.summary.value:
                if _is_scalar(value):
                    scalars.setdefault(value.tag, {})[event.step] = _number(value)
    except OSError as error:
        raise UserError(f"The event file {path} cannot be read: {error.strerror}.") from error
    except UnicodeEncodeError as error:
        said = f"The event file {str(path)!r} cannot be read: its path is no UTF-8; rename its folder."
        raise UserError(said) from error
    return scalars, size - read


def merge(parts: Sequence[Scalars]) -> Scalars:
    """One history out of the parts of a run that was continued.

    The newest value of a step counts. What an earlier part logged from the first iteration of a later one on does not
    count: the run went back to a checkpoint there, and those iterations are not part of how its policy came about.
    """
    merged: Scalars = {}
    for part in parts:
        redone = _first_iteration(part)
        merged = {tag: {step: v for step, v in points.items() if step < redone} for tag, points in merged.items()}
        for tag, points in part.items():
            merged[tag] = merged.get(tag, {}) | points
    return {tag: dict(sorted(points.items())) for tag, points in merged.items() if points}


def _first_iteration(scalars: Mapping[str, Mapping[int, float]]) -> float:
    return next((min(scalars[tag]) for tag in ITERATION_TAGS if tag in scalars), float("inf"))


def _version(path: Path) -> int:
    numbers = (re.fullmatch(r"version_(\d+)", name) for name in path.parts)
    return next((int(number[1]) for number in numbers if number), -1)


def _is_scalar(value: Summary.Value) -> bool:
    if value.HasField("tensor"):  # written by TensorFlow 2, or by torch with new_style=True
        plugin = value.metadata.plugin_data.plugin_name
        return plugin in ("", "scalars") and not value.tensor.tensor_shape.dim and value.tensor.dtype in (1, 2)
    return bool(value.HasField("simple_value"))


def _number(value: Summary.Value) -> float:
    return float(make_ndarray(value.tensor) if value.HasField("tensor") else value.simple_value)
