"""Where one writer begins again without saying so: its steps fall in the middle of a session."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlft.comparison.event_files import Point, Session
from rlft.comparison.restarts import first_steps, start_of, steps_of

LATE = 16  # points of a tag by which workers that log at the same time may be out of order
FEW = 2  # likewise, at the place where the log begins again
OFTEN = 50  # points of a tag, from which on it shows whether they are out of order all along
WORKERS = 8  # that may log at equal steps
AHEAD = 1000  # points after a fall in which tags are looked for, at least


@dataclass
class _Steps:
    """The different steps of a tag so far, in ascending order."""

    known: list[int] = field(default_factory=list)

    def add(self, step: int) -> tuple[int, bool]:
        """How many steps are beyond this one, and whether it is here again or below all others."""
        if not self.known or step > self.known[-1]:
            self.known.append(step)
            return 0, False
        place = bisect_left(self.known, step)
        again = self.known[place] == step
        if not again:
            self.known.insert(place, step)
        return len(self.known) - place - 1, again or place == 0

    def below(self, step: int | None) -> _Steps:
        """Those below a step, from which on they are abandoned; all if there is none."""
        return self if step is None else _Steps(self.known[: bisect_left(self.known, step)])


def divided(session: Session) -> tuple[list[Session], set[str]]:
    """The session, divided where the log as a whole begins again; and the tags that count their steps anew alone.

    A few points out of order are neither. Where training goes back to a checkpoint, no tag comes to new steps before
    the one that fell has come to new ones. If others go on meanwhile, it counts something else, such as the batches of
    an epoch, and has no single curve.
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
    begin = behind_since = 0  # the last beginning; the first of the points in a row that are behind or there already
    steps, disordered = dict[str, _Steps](), _disordered(points)
    for i, point in enumerate(points):
        behind, again = steps.setdefault(point.tag, _Steps()).add(point.step)
        repeated = again and (behind > 0 or behind_since < i or points[i - 1].step != point.step)
        if not behind and not repeated:
            behind_since = i + 1
        falls = behind > LATE or ((repeated or (again and behind > FEW)) and point.tag not in disordered)
        if not falls or point.tag in alone:
            continue
        place = _without_stray(points, max(begin, behind_since), steps)
        before = points[begin:place]
        furthest = steps[point.tag].known[-1]
        firsts = first_steps(_until_beyond(points[place : place + max(AHEAD, 4 * len(before))], point.tag, furthest))
        start = start_of(steps_of(before), firsts)
        if not start.going_on and (behind > FEW or _come_again(firsts, before) > 1):
            yield place
            begin, behind_since = place, i + 1
            steps = {tag: own.below(firsts.get(tag)) for tag, own in steps.items()}
            for later in points[begin : i + 1]:
                steps.setdefault(later.tag, _Steps()).add(later.step)
        elif behind > FEW:
            alone |= {point.tag, *start.fallen}


def _disordered(points: Sequence[Point]) -> set[str]:
    """Tags whose points are out of order all along, as several workers log them at steps of their own."""
    return {
        tag
        for tag, steps in steps_of(points).items()
        if len(steps) >= OFTEN
        and sum(later < step for step, later in itertools.pairwise(steps)) > len(steps) / 10
        and len(set(steps)) >= len(steps) / WORKERS
    }


def _without_stray(points: Sequence[Point], place: int, steps: Mapping[str, _Steps]) -> int:
    """After the points at the place that are late and still belong to what was logged before the log began again."""
    while True:
        tag, step = points[place].tag, points[place].step
        following = next((own.step for own in points[place + 1 : place + AHEAD] if own.tag == tag), step)
        known = steps[tag].known
        if bisect_left(known, step) - bisect_left(known, following) <= FEW:
            return place
        place += 1


def _come_again(firsts: Mapping[str, int], before: Sequence[Point]) -> int:
    """How many tags begin at or below a step that they had logged before."""
    return sum(tag in firsts and firsts[tag] <= max(steps) for tag, steps in steps_of(before).items())


def _until_beyond(points: Sequence[Point], tag: str, step: int) -> Iterator[Point]:
    """The points until the tag has come beyond the step."""
    return itertools.takewhile(lambda point: point.tag != tag or point.step <= step, points)
