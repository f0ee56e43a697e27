"""Where one writer begins again without saying so: its steps fall in the middle of a session."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rlft.comparison.event_files import Point, Session
from rlft.comparison.restarts import Kind, Start, first_steps, start_of, steps_of

LATE = 16  # points of a tag by which workers that log at the same time may be out of order
OFTEN = 50  # times that a log falls by one step, after which it is one of several workers
AHEAD = 1000  # points after a fall in which tags are looked for, at least


@dataclass
class _Steps:
    """The different steps of a tag so far, in ascending order."""

    known: list[int] = field(default_factory=list)

    def add(self, step: int) -> tuple[int, bool]:
        """How many steps are beyond this one, and whether it is here again."""
        if not self.known or step > self.known[-1]:
            self.known.append(step)
            return 0, False
        place = bisect_left(self.known, step)
        again = self.known[place] == step
        if not again:
            self.known.insert(place, step)
        return len(self.known) - place - 1, again

    def below(self, step: int | None) -> _Steps:
        """Those below a step, from which on they are abandoned; all if there is none."""
        return self if step is None else _Steps(self.known[: bisect_left(self.known, step)])


def divided(session: Session) -> tuple[list[Session], set[str]]:
    """The session, divided where the log as a whole begins again; and the tags that count their steps anew alone.

    A few points out of order are neither. If a tag falls while others go on, such as one that counts the batches of an
    epoch, it has no single curve.
    """
    alone = set[str]()
    places = [0, *_beginnings(session.points, alone), len(session.points)]
    parts = [
        replace(session, points=session.points[begin:end], purge=None, began=session.points[begin].time)
        for begin, end in itertools.pairwise(places[1:])
    ]
    return [replace(session, points=session.points[: places[1]]), *parts], alone


def _beginnings(points: Sequence[Point], alone: set[str]) -> Iterator[int]:
    """Indices at which the log begins again; tags that do so alone go to `alone`."""
    begin = behind_since = 0  # the last beginning; the first of the points in a row that are all behind
    steps, slight = dict[str, _Steps](), 0
    for i, point in enumerate(points):
        behind, again = steps.setdefault(point.tag, _Steps()).add(point.step)
        if not behind:
            behind_since = i + 1
        slight += behind == 1 and again
        falls = behind > LATE or (again and behind > (1 if slight > OFTEN else 0))
        if not falls or point.tag in alone:
            continue
        place = _first_of_step(points, begin, max(begin, behind_since))
        before = points[begin:place]
        firsts = first_steps(points[place : place + max(AHEAD, 4 * len(before))])
        start = start_of(steps_of(before), firsts)
        if _is_of_all(start) and (behind > 1 or not start.going_on):
            yield place
            begin, behind_since = place, i + 1
            steps = {tag: own.below(firsts.get(tag)) for tag, own in steps.items()}
            for later in points[begin : i + 1]:
                steps.setdefault(later.tag, _Steps()).add(later.step)
        elif behind > 1:
            alone |= {point.tag, *start.fallen}


def _first_of_step(points: Sequence[Point], begin: int, place: int) -> int:
    """The first of the points in a row that are logged at one step."""
    while place > begin and points[place - 1].step == points[place].step:
        place -= 1
    return place


def _is_of_all(start: Start) -> bool:
    """Whether the log as a whole begins again; tags that are logged seldom may seem to go on after a checkpoint."""
    if start.kind is Kind.ANEW:
        return not start.going_on
    return start.kind is Kind.GOES_BACK and len(start.fallen.keys() | start.again.keys()) >= len(start.going_on)
