"""Where one writer begins again without saying so: its steps fall in the middle of a session."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rlft.comparison.event_files import Point, Session
from rlft.comparison.restarts import Kind, Start, first_steps, start_of, steps_of

LATE = 16  # points of a tag by which workers that log at the same time may be out of order


@dataclass
class _Steps:
    """The different steps of a tag so far, in ascending order."""

    known: list[int] = field(default_factory=list)

    def add(self, step: int) -> tuple[bool, bool]:
        """Whether a step is behind the furthest one, and whether that cannot just be late: it was there, or is far."""
        if not self.known or step > self.known[-1]:
            self.known.append(step)
            return False, False
        place = bisect_left(self.known, step)
        again = self.known[place] == step
        behind = len(self.known) - place - again
        if not again:
            self.known.insert(place, step)
        return behind > 0, behind > LATE or (again and behind > 1)


def divided(session: Session) -> tuple[list[Session], set[str]]:
    """The session, divided where the log as a whole begins again; and the tags that count their steps anew alone.

    A few points out of order are neither. If a tag falls while others go on, such as one that counts the batches of an
    epoch, it has no single curve.
    """
    alone = set[str]()
    places = [0, *_beginnings(session.points, alone), len(session.points)]
    parts = [
        replace(session, points=session.points[begin:end], purge=None if begin else session.purge)
        for begin, end in itertools.pairwise(places)
    ]
    return parts, alone


def _beginnings(points: Sequence[Point], alone: set[str]) -> Iterator[int]:
    """Indices at which the log begins again; tags that do so alone go to `alone`."""
    begin = behind_since = 0  # the last beginning; the first of the points in a row that are all behind
    steps = dict[str, _Steps]()
    for i, point in enumerate(points):
        behind, falls = steps.setdefault(point.tag, _Steps()).add(point.step)
        if not behind:
            behind_since = i + 1
        if not falls or point.tag in alone:
            continue
        place = max(begin, behind_since)
        while place > begin and points[place - 1].step == points[place].step:
            place -= 1
        start = start_of(steps_of(points[begin:place]), first_steps(points[place:]))
        if not _is_of_all(start):
            alone |= {point.tag, *start.fallen}
            continue
        yield place
        begin = behind_since = place
        steps = {}
        for own in points[begin : i + 1]:
            steps.setdefault(own.tag, _Steps()).add(own.step)
        behind_since = i + 1


def _is_of_all(start: Start) -> bool:
    if start.kind is Kind.ANEW:
        return True
    return start.kind is Kind.GOES_BACK and len(start.fallen) >= len(start.going_on)
