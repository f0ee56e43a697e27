"""How a run came about: the version of it that counts, and the versions that this one went on from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rlft.runs.directory import is_version, status_of, version_number, versions
from rlft.runs.status import Status, places_before


@dataclass(frozen=True)
class History:
    """A version of a run of rlft, and what came before it.

    Attributes:
        version: its directory.
        status: of the version.
        before: of the version whose checkpoint it goes on from, if that is there.
        named: what was named on the command line, the version or the run's folder with all its versions.
    """

    version: Path
    status: Status
    before: History | None
    named: Path

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.version.parent

    @property
    def name(self) -> str:
        """The name of the run with that of the version."""
        return f"{self.run.name}/{self.version.name}"

    @property
    def begins_in_the_middle(self) -> bool:
        """Whether the run that it goes on from is gone."""
        return bool(self.status.checkpoint) and self.before is None

    @cached_property
    def parts(self) -> list[tuple[History, int | None]]:
        """What its curve is made of, from the beginning, and up to which iteration each counts; the last one wholly."""
        earlier = self.before.parts if self.before else []
        cut = [(part, self._sooner(until)) for part, until in earlier]
        return [*cut, (self, None)]

    def _sooner(self, until: int | None) -> int:
        own = self.status.checkpoint_iterations
        return own if until is None else min(own, until)

    def goes_on_from(self, other: History) -> bool:
        """Whether its checkpoint is of that version."""
        return self.before is not None and self.before.version == other.version


def histories(named: Path) -> list[History]:
    """Of a version, or of each version of a run's folder that has a status; none for the logs of other tools."""
    folder = named.resolve()
    found = [folder] if is_version(folder) else versions(folder)
    return [one for version in found if (one := _history(version, folder, frozenset()))]


def _history(version: Path, named: Path, after: frozenset[Path]) -> History | None:
    status = status_of(version)
    if status is None or version in after:
        return None
    found = (_history(place, place, after | {version}) for place in places_before(version, status.checkpoint))
    before = next((one for one in found if one and _can_go_on(one.status, status)), None)
    return History(version, status, before, named)


def _can_go_on(before: Status, after: Status) -> bool:
    """Whether it may be what it is taken for, and no other run that came into its place since."""
    return before.started <= after.started and before.done >= after.checkpoint_iterations


@dataclass(frozen=True)
class Choice:
    """Which of the versions of runs are compared, and why not the others.

    Attributes:
        used: one for each run.
        notes: a sentence for every version that is neither used nor part of the curve of one that is.
    """

    used: list[History]
    notes: list[str]


def choose(found: Sequence[History], *, repeats: bool) -> Choice:
    """The newest complete one of each run, with whatever it goes on from.

    Args:
        found: histories of everything that was named.
        repeats: whether the same run counts as often as it was named, if it was made again elsewhere.
    """
    found = list({one.version: one for one in found}.values())
    ends, notes = _ends(found)
    runs: dict[tuple[object, ...], list[History]] = {}
    for one in ends:
        identity = one.status.digest or str(one.run)
        runs.setdefault((identity, one.status.seed, one.named if repeats else ""), []).append(one)
    used = [_best(tries) for tries in runs.values()]
    for best, tries in zip(used, runs.values(), strict=True):
        notes += [_left_out(one, best) for one in tries if one is not best]
    return Choice(used, notes)


def _ends(found: Sequence[History]) -> tuple[list[History], list[str]]:
    """Without versions that are wholly part of one that goes on from them."""
    ends, notes = [], []
    for one in found:
        later = [
            other for other in found
            if other.goes_on_from(one) and other.status.checkpoint_iterations >= one.status.done
        ]  # fmt: skip
        if not later or (one.status.is_complete and all(_differs(one, other) for other in later)):
            ends.append(one)
        elif all(_differs(one, other) for other in later):
            notes.append(
                f"{one.name}, which is not complete, counts as the beginning of {later[-1].name} alone, which went on "
                "from it with other settings."
            )
    return ends, notes


def _differs(one: History, other: History) -> bool:
    return (one.status.digest, one.status.seed) != (other.status.digest, other.status.seed)


def _best(tries: Iterable[History]) -> History:
    """The newest complete one; if none is complete, the one that has come furthest.

    Within a folder the number of the version tells which is newer, whatever the clock says.
    """
    newest: dict[Path, History] = {}
    for one in sorted(tries, key=lambda one: version_number(one.version)):
        before = newest.get(one.run)
        if before is None or _rank(one) >= _rank(before):
            newest[one.run] = one
    return max(newest.values(), key=lambda one: (_rank(one), one.status.started))


def _rank(one: History) -> tuple[bool, int]:
    return one.status.is_complete, 0 if one.status.is_complete else one.status.done


def _left_out(one: History, best: History) -> str:
    until = next((until for part, until in best.parts if part.version == one.version), None)
    if until is not None:
        return (
            f"Left out: what {one.name} did after iteration {until}, from where {best.name} went on, "
            f"which is {_standing(best)}."
        )
    told = "repeats would make an interval too narrow"
    return f"Left out: {_place(one, best)}, the same run as {best.name}, which is {_standing(best)}; {told}."


def _standing(best: History) -> str:
    return "the newest complete one" if best.status.is_complete else "not complete either, but has come further"


def _place(one: History, best: History) -> str:
    """Its name, or its path where the names are the same, and what it went on from."""
    name = str(one.version) if one.name == best.name else one.name
    return f"{name} with {one.before.name} before it" if one.before else name
