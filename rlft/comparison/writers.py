"""Writers that log into one folder: which sessions are of the same one, and which logged at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rlft.comparison.event_files import Session
from rlft.comparison.restarts import first_steps


def _at_the_same_time(parts: Sequence[Session]) -> Iterator[tuple[Session, Session]]:
    """Pairs of sessions of one folder in different files that overlap in time."""
    if len(parts) == 1:
        return
    spans = [(part.first_time, part.last_time, part) for part in parts if part.points]
    for (begin, end, one), (other_begin, other_end, other) in itertools.combinations(spans, 2):
        if one.file != other.file and one.file.parent == other.file.parent and begin < other_end and other_begin < end:
            yield one, other


def without_copies(parts: Sequence[Session]) -> list[Session]:
    """Without sessions that hold nothing but what another one holds as well, to the time."""
    copies = list[Session]()
    for one, other in _at_the_same_time(parts):
        less, more = sorted((one, other), key=lambda part: len(part.points))
        if not any(more is copy for copy in copies) and set(less.points) <= set(more.points):
            copies.append(less)
    return [part for part in parts if not any(part is copy for copy in copies)]


def contested(parts: Sequence[Session], name: str) -> dict[str, str]:
    """Tags that two writers have logged at the same time."""
    found = {}
    for one, other in _at_the_same_time(parts):
        for tag in first_steps(one.points).keys() & first_steps(other.points).keys():
            found[tag] = (
                f"{tag} of {name} was logged by two writers at the same time, so it has no single curve; move "
                f"{other.file.name} into a folder of its own."
            )
    return found


def by_writer(parts: Sequence[Session]) -> list[list[Session]]:
    """The sessions by writer: those that share a tag with each other are starts of the same one."""
    found: list[tuple[set[str], list[Session]]] = []
    for part in parts:
        tags = set(first_steps(part.points))
        same = [stream for stream in found if stream[0] & tags]
        found = [stream for stream in found if not stream[0] & tags]
        own = [session for _, sessions in same for session in sessions]
        found.append((tags.union(*(known for known, _ in same)), [*own, part]))
    order = {id(part): i for i, part in enumerate(parts)}
    return [sorted(sessions, key=lambda session: order[id(session)]) for _, sessions in found]
