"""What TensorBoard's event files hold, whichever tool wrote them: points of scalars, and where a writer began."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

from rlft.errors import UserError

Scalars = dict[str, dict[int, float]]  # tag: step: value, in the order of steps

FRAME = 16  # bytes around every record: its length and two checksums
ITERATION_TAGS = ("time/iteration", "charts/SPS")  # logged once per iteration: by rlft; by ManiSkill and CleanRL


class Point(NamedTuple):
    """One value of a scalar; `time` is the clock's when it was logged, in seconds."""

    tag: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class Session:
    """What one writer has logged after one start, in the order in which it did.

    Attributes:
        file: it is in.
        began: the clock's time of the first record, in seconds.
        purge: step from which on earlier sessions do not count, as `SummaryWriter(purge_step=)` says; or nothing.
        points: of scalars.
    """

    file: Path
    began: float
    purge: int | None = None
    points: list[Point] = field(default_factory=list)

    @property
    def first_time(self) -> float:
        """When its first point was logged."""
        return min((point.time for point in self.points), default=math.inf)

    @property
    def last_time(self) -> float:
        """When its last point was logged."""
        return max((point.time for point in self.points), default=-math.inf)


def event_files(folder: Path) -> list[Path]:
    """Event files anywhere below."""
    return sorted(folder.rglob("*.tfevents.*"))


def read_sessions(path: Path) -> tuple[list[Session], int]:
    """The sessions in one event file, and how many bytes at its end cannot be read.

    Raises:
        UserError: if the file cannot be opened.
    """
    found: list[Session] = []
    points: list[Point] = []  # of the last one
    size = read = 0
    try:
        size = path.stat().st_size
        for record in RawEventFileLoader(str(path)).Load():  # stops at the first record that fails its checksum
            read += len(record) + FRAME
            event = Event.FromString(record)
            begins = event.HasField("session_log") and event.session_log.status == SessionLog.START
            if begins or not found:
                found.append(Session(path, event.wall_time, event.step if begins else None))
                points = found[-1].points
            step, time = event.step, event.wall_time
            for value in event.summary.value:
                if _is_scalar(value):
                    points.append(Point(value.tag, step, _number(value), time))
    except OSError as error:
        raise UserError(f"The event file {path} cannot be read: {error.strerror}.") from error
    except UnicodeEncodeError as error:
        message = f"The event file {str(path)!r} cannot be read: its path is no UTF-8; rename its folder."
        raise UserError(message) from error
    return found, size - read


def _is_scalar(value: Summary.Value) -> bool:
    if value.HasField("tensor"):  # written by TensorFlow 2, or by torch with new_style=True
        plugin = value.metadata.plugin_data.plugin_name
        return plugin in ("", "scalars") and not value.tensor.tensor_shape.dim and value.tensor.dtype in (1, 2)
    return bool(value.HasField("simple_value"))


def _number(value: Summary.Value) -> float:
    return float(make_ndarray(value.tensor) if value.HasField("tensor") else value.simple_value)
