"""How what a writer logs after a start stands to what was logged before: it goes on, goes back, or is another run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from rlft.comparison.event_files import Point

ENOUGH = 5  # steps of a tag before, to tell by it; a tag that every start logs once, at step 0, tells nothing
START = 0.02  # share of the steps before, up to which a start is one from the beginning
EARLY = 0.2  # likewise, for tags logged at irregular steps, if another tag begins exactly where it began before


class Kind(Enum):
    """Of a start after earlier ones."""

    GOES_ON = "goes on"
    GOES_BACK = "goes back"  # to a checkpoint: what came after that is abandoned
    ANEW = "anew"  # another run, from its beginning
    UNCLEAR = "unclear"  # anew in some tags, not in others


@dataclass(frozen=True)
class Start:
    """A start.

    Attributes:
        kind: of it.
        fallen: first steps of the tags by which that is told and that do not go on where they had been.
        going_on: tags that do.
        again: first steps of all tags that come to steps again at which they had been.
        is_doubtful: whether another run may be one that went back to a checkpoint near its beginning.
    """

    kind: Kind
    fallen: Mapping[str, int]
    going_on: frozenset[str]
    again: Mapping[str, int]
    is_doubtful: bool


def start_of(before: Mapping[str, Sequence[int]], after: Mapping[str, int]) -> Start:
    """What a start is.

    Args:
        before: steps of each tag that were logged before it.
        after: the first step of each tag that is logged after it.
    """
    shared = [tag for tag in after if tag in before]
    counts = {tag: len(set(before[tag])) for tag in shared}
    telling = next(own for least in (ENOUGH, 2, 1) if (own := [t for t in shared if counts[t] >= least]) or least == 1)
    places = {tag: _place(before[tag], after[tag]) for tag in telling}
    fallen = {tag: after[tag] for tag, place in places.items() if place <= 1}
    again = {tag: after[tag] for tag in shared if counts[tag] > 1 and after[tag] <= max(before[tag])}
    going_on = frozenset(tag for tag in shared if after[tag] > max(before[tag]))
    return Start(_kind(places.values()), fallen, going_on, again, any(place > 0 for place in places.values()))


def _place(before: Sequence[int], step: int) -> float:
    """Where a step is among those before: at most 0 at the first of them or below, 1 at the last, above 1 after it."""
    first, last = min(before), max(before)
    if step > last or last == first:
        return math.inf if step > last else 0.0
    return (step - first) / (last - first)


def _kind(places: Iterable[float]) -> Kind:
    least, most = min(places, default=math.inf), max(places, default=math.inf)
    if least > 1:
        return Kind.GOES_ON
    if most <= START or (least <= 0 and most <= EARLY):
        return Kind.ANEW
    return Kind.UNCLEAR if least <= 0 else Kind.GOES_BACK


def abandoned(before: Sequence[Point], start: Start) -> set[int]:
    """Indices of the points that were logged after the checkpoint to which a start goes back.

    Tags may count different steps, epochs and env steps, and be logged at different ones. So a point counts as logged
    after the checkpoint if its tag comes to its step again, or if it was logged after the first point that does.
    """
    moment = next(i for i, point in enumerate(before) if point.step >= start.fallen.get(point.tag, math.inf))
    redone = before[moment].step
    while moment > 0 and before[moment - 1].step == redone:
        moment -= 1

    def counts(i: int, point: Point) -> bool:
        first = start.again.get(point.tag)
        if first is None:
            return i < moment
        return point.step < first and (i < moment or point.step < redone)

    return {i for i, point in enumerate(before) if not counts(i, point)}


def first_steps(points: Iterable[Point]) -> dict[str, int]:
    """The step at which each tag is logged first."""
    found: dict[str, int] = {}
    for point in points:
        found.setdefault(point.tag, point.step)
    return found


def steps_of(points: Iterable[Point]) -> dict[str, list[int]]:
    """The steps of each tag, in the order in which they were logged."""
    found: dict[str, list[int]] = {}
    for point in points:
        found.setdefault(point.tag, []).append(point.step)
    return found
