"""What counts of the event files that lie in one folder.

A folder of event files is one run for TensorBoard, and so it is here. But a run may have been started more than once,
and what all starts have logged is not one curve. The starts are found by what the files hold: each file is a start, a
record of `purge_step` within a file is one, and so are steps that fall for the log as a whole. They are put in order by
the clock times of their first records; versions of a run by their numbers. Then, for each start after the first:

- It says from which step on earlier ones do not count, with `purge_step`: they do not, as in TensorBoard.
- Its steps begin after those that are there: it goes on.
- Its steps begin below: it went back to a checkpoint. What had been logged after that is left out.
- Its steps begin where those that are there begin: it is another run in the same folder. The last one counts.
- Its steps begin anew in some tags and further on in others: nothing tells what it is, and that is an error.

Files that were written at the same time are different writers of one run, such as training and evaluation, and no
restarts; where one goes back, what the others had logged meanwhile does not count either. A tag that both have logged
has no single curve, unless one file is a copy of the other. Neither has a tag whose steps begin anew while others go
on.

Points that are out of order by a few are no restart, so neither is one within a file that goes back by a step or two:
there the newest value of each step counts. Whatever is left out is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlft.comparison.event_files import Point, Scalars, Session
from rlft.comparison.falls import divided
from rlft.comparison.restarts import Kind, Start, abandoned, first_steps, start_of, steps_of
from rlft.comparison.writers import by_writer, contested, without_copies
from rlft.errors import UserError

FEW = 3  # steps that a sentence lists


@dataclass(frozen=True)
class Counting:
    """What counts.

    Attributes:
        scalars: by tag and step.
        unclear: a sentence for each tag that has no single curve.
        notes: a sentence for everything that is left out.
    """

    scalars: Scalars
    unclear: Mapping[str, str]
    notes: Sequence[str]


@dataclass(frozen=True)
class _Span:
    """A time that does not count for the other writers of the folder either, as one of them began again after it.

    Attributes:
        since: seconds of the clock.
        until: when the later start logged its first point.
        ended: when the earlier one logged its last. Writers that were opened later belong to the later start.
    """

    since: float
    until: float
    ended: float

    def kept(self, session: Session) -> Session:
        """The session without what does not count."""
        if session.began > self.ended:
            return session
        return _with(session, [point for point in session.points if not self.since <= point.time < self.until])


@dataclass
class _Stream:
    """What counts of writers that came one after the other, in the order in which they logged."""

    name: str
    points: list[Point] = field(default_factory=list)
    file: Path | None = None  # of the last one
    left_out: list[_Span] = field(default_factory=list)
    runs: int = 1
    is_doubtful: bool = False  # whether the last one began anew
    reached: float = -math.inf  # by the runs that do not count
    back: list[int] = field(default_factory=list)  # steps to which the one that counts went back

    def add(self, session: Session) -> None:
        """Adds what a later start has logged."""
        if self.points and session.points:
            self._start(session)
        self.points += session.points
        self.file = session.file

    def _start(self, session: Session) -> None:
        start = start_of(steps_of(self.points), first_steps(session.points))
        if start.kind is Kind.UNCLEAR:
            raise UserError(_unclear(self.name, session.file, start.fallen, alone=session.file != self.file))
        if start.kind is Kind.ANEW:
            self._another_run(session, start)
        if start.kind is Kind.GOES_BACK:
            self._go_back(start, session)

    def _go_back(self, start: Start, session: Session) -> None:
        out = abandoned(self.points, start)
        self._leave_out(min(self.points[i].time for i in out), session)
        self.back.append(min(start.fallen.values()))
        self.points = [point for i, point in enumerate(self.points) if i not in out]

    def _another_run(self, session: Session, start: Start) -> None:
        self.runs += 1
        self.is_doubtful |= start.is_doubtful
        self.reached = max(self.reached, *(point.step for point in self.points))
        self._leave_out(-math.inf, session)
        self.points, self.back = [], []

    def _leave_out(self, since: float, session: Session) -> None:
        self.left_out.append(_Span(since, session.first_time, max(point.time for point in self.points)))

    def notes(self) -> Iterator[str]:
        """A sentence for each kind of what is left out."""
        if self.runs > 1:
            yield (
                f"{self.name} holds {self.runs} runs, each from its beginning; the last one counts. Left out: what was "
                f"logged before it, up to step {self.reached:,.0f}."
                + " If it went back to a checkpoint near its beginning instead, it lacks that."
                * self.is_doubtful
            )
        if self.back:
            yield (
                f"{self.name} was started again from step {_listed(self.back)} after it had come further; left out is "
                "what it had logged from there on before."
            )


def _listed(steps: Sequence[int]) -> str:
    """`300, 500 and 2 others`."""
    first = ", ".join(f"{step:,}" for step in steps[:FEW])
    return f"{first} and {len(steps) - FEW} others" if len(steps) > FEW else first


def _unclear(name: str, file: Path, fallen: Mapping[str, int], *, alone: bool) -> str:
    first, later = min(fallen, key=fallen.__getitem__), max(fallen, key=fallen.__getitem__)
    remedy = (
        f"move {file.name} into a folder of its own" if alone else "a run that begins anew needs a folder of its own"
    )
    return (
        f"{name} was started again at step {fallen[first]:,} of {first}, but at step {fallen[later]:,} of {later}, so "
        f"nothing tells what it went on from; {remedy}."
    )


def counting(sessions: Sequence[Session], name: str) -> Counting:
    """What counts of the sessions in one folder.

    Args:
        sessions: in the order in which they began; those of a later version after those of an earlier one.
        name: of the run, for sentences.

    Raises:
        UserError: if nothing tells what a start went on from.
    """
    parts, unclear = [], dict[str, str]()
    for session in sessions:
        own, alone = divided(session)
        parts += own
        unclear |= {tag: _alone(tag, name) for tag in sorted(alone)}
    parts, purged = _purged(without_copies(parts))
    unclear |= contested(parts, name)
    writers = by_writer([_without(part, unclear) for part in parts])
    streams = [_folded(own, name) for own in writers]
    notes = dict.fromkeys(note for one in streams for note in one.notes())
    if len(writers) > 1:
        streams = [_folded(_with_others(own, streams[:i] + streams[i + 1 :]), name) for i, own in enumerate(writers)]
    return Counting(_scalars(streams), unclear, [*_purge_notes(purged, name), *notes])


def _with_others(sessions: Sequence[Session], others: Sequence[_Stream]) -> list[Session]:
    """Where one writer went back or began anew, the others did."""
    kept = list(sessions)
    for span in (span for other in others for span in other.left_out):
        kept = [span.kept(session) for session in kept]
    return kept


def _purged(parts: Sequence[Session]) -> tuple[list[Session], list[int]]:
    """Without what later sessions say not to count, and from which steps on that was anything."""
    kept: list[Session] = []
    purged: list[int] = []
    for part in parts:
        if (purge := part.purge) is not None:
            before = [point for one in kept for point in one.points]
            kept = [_with(one, [p for p in one.points if p.step < purge or p.time > part.began]) for one in kept]
            purged += [purge] * (sum(len(one.points) for one in kept) < len(before))
        kept.append(part)
    return kept, purged


def _purge_notes(steps: Sequence[int], name: str) -> Iterator[str]:
    if steps:
        yield (
            f"{name} was started again with purge_step {_listed(steps)}; left out is what it had logged from there on "
            "before."
        )


def _alone(tag: str, name: str) -> str:
    return (
        f"{tag} of {name} counts its steps anew while other tags go on, so it has no single curve; choose another "
        "metric."
    )


def _without(session: Session, tags: Mapping[str, str]) -> Session:
    return _with(session, [point for point in session.points if point.tag not in tags]) if tags else session


def _with(session: Session, points: list[Point]) -> Session:
    return replace(session, points=points)


def _folded(sessions: Sequence[Session], name: str) -> _Stream:
    stream = _Stream(name)
    for session in sessions:
        stream.add(session)
    return stream


def _scalars(streams: Sequence[_Stream]) -> Scalars:
    scalars: Scalars = {}
    for stream in streams:
        for point in stream.points:
            scalars.setdefault(point.tag, {})[point.step] = point.value
    return {tag: dict(sorted(points.items())) for tag, points in scalars.items()}
