"""The log of a run: what counts of the event files in its folder and in those below.

What different folders below hold are different series, as of `train/` and `validation/`. A tag that only one of them
has is called by its own name. Where several have it, it is called by the folder as well: `validation/loss`. Versions
`version_<k>` of a run are no such folders: one went on from the other, in the order of their numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlft.comparison.event_files import Scalars, Session, event_files, read_sessions
from rlft.comparison.runs import NAMES, canonical
from rlft.comparison.sessions import Counting, counting
from rlft.errors import UserError
from rlft.runs.directory import is_version, version_number


@dataclass(frozen=True)
class Log:
    """The log of a run.

    Attributes:
        scalars: by tag and step.
        unclear: a sentence for each tag that has no single series.
        others: of tags that the run's own folder has: what those of folders below are called.
        notes: a sentence for everything that is left out.
        folders: with event files.
        unread: bytes at the ends of the files that cannot be read.
    """

    scalars: Scalars
    unclear: Mapping[str, str]
    others: Mapping[str, list[str]]
    notes: list[str]
    folders: list[Path]
    unread: int


def read_log(folder: Path, name: str) -> Log:
    """Reads the log of a run.

    Args:
        folder: of the run.
        name: of the run, for sentences.

    Raises:
        UserError: if there are no event files, or nothing tells what counts of them.
    """
    files = event_files(folder)
    if not files:
        raise UserError(f"{folder} holds no TensorBoard event files, so it is no run.")
    places: dict[str, list[tuple[int, float, str, list[Session]]]] = {}
    unread = 0
    for file in files:
        place, version = _place(file.parent.relative_to(folder))
        sessions, rest = read_sessions(file)
        unread += rest
        if sessions:
            places.setdefault(place, []).append((version, sessions[0].began, file.name, sessions))
    found = {
        place: _renamed(
            counting([session for *_, own in sorted(began) for session in own], _called(name, place, places))
        )
        for place, began in places.items()
    }
    scalars, unclear, others = _together(found, name)
    folders = sorted({file.parent for file in files}, key=lambda path: (_place(path.relative_to(folder))[1], path))
    return Log(scalars, unclear, others, [note for one in found.values() for note in one.notes], folders, unread)


def _place(path: Path) -> tuple[str, int]:
    """The folder without the version of the run that it may be in, and the number of the version; -1 for none."""
    versions = [part for part in map(Path, path.parts) if is_version(part)]
    place = Path(*(part for part in map(Path, path.parts) if part not in versions))
    return "" if place == Path() else place.as_posix(), version_number(versions[0]) if versions else -1


def _called(name: str, place: str, places: Collection[str]) -> str:
    return f"{name}/{place}" if place and len(places) > 1 else name


def _renamed(one: Counting) -> Counting:
    """With rlft's names; where a tool logs both, its own use of rlft's name counts."""
    own = [tag for tag in (*one.scalars, *one.unclear) if tag not in NAMES]
    taken = {tag for tag in (*one.scalars, *one.unclear) if tag in NAMES and NAMES[tag] in own}
    scalars = {canonical(tag): points for tag, points in one.scalars.items() if tag not in taken}
    unclear = {canonical(tag): message for tag, message in one.unclear.items() if tag not in taken}
    return Counting(scalars, unclear, one.notes)


def _together(found: Mapping[str, Counting], name: str) -> tuple[Scalars, dict[str, str], dict[str, list[str]]]:
    """Scalars, unclear tags and others, as in `Log`."""
    tags = Counter(tag for one in found.values() for tag in (*one.scalars, *one.unclear))
    scalars, unclear, others = Scalars(), dict[str, str](), dict[str, list[str]]()
    for place, one in found.items():
        names = {tag: _named(place, tag, tags) for tag in (*one.scalars, *one.unclear)}
        scalars |= {names[tag]: points for tag, points in one.scalars.items()}
        unclear |= {names[tag]: message for tag, message in one.unclear.items()}
        for tag in names.keys() & {tag for tag in names if names[tag] != tag}:
            others.setdefault(tag, []).append(names[tag])
    for tag in others.keys() - scalars.keys() - unclear.keys():
        offered = " or ".join(others[tag])
        unclear[tag] = f"{name} has {tag} in several folders, which are different series; ask for {offered}."
    return scalars, unclear, {tag: names for tag, names in others.items() if tag in scalars}


def _named(place: str, tag: str, tags: Counter[str]) -> str:
    """By its folder as well, if other folders have the tag."""
    if not place or tags[tag] == 1:
        return tag
    name = f"{place}/{tag}"
    return name if name not in tags else f"{place}//{tag}"
