"""What arms are called: by the names of their runs where these tell them apart, else by what differs among them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlft.comparison import differences
from rlft.comparison.differences import BETWEEN, Settings


@dataclass(frozen=True)
class Nameless:
    """An arm without a label.

    Attributes:
        place: where its runs are, with their name without the seed for a last part.
        settings: what its runs are, if that is known.
    """

    place: Path
    settings: Settings


def labels_of(arms: Sequence[Nameless]) -> list[str]:
    """A label for each arm; no two are equal.

    Arms of different names are called by them, without the parts that all of them share. Arms of one name are told
    apart by their settings, or by where they are if their settings are unknown.
    """
    if not arms:
        return []
    families: dict[str, list[int]] = {}
    for i, name in enumerate(_names(arms)):
        families.setdefault(name, []).append(i)
    found = [""] * len(arms)
    for name, family in families.items():
        told = differences.labels([arms[i].settings for i in family]) if len(family) > 1 else [""]
        for i, text in zip(family, told, strict=True):
            found[i] = BETWEEN.join(filter(None, (name if len(families) > 1 or not text else "", text)))
    return differences.unique(found)


def _names(arms: Sequence[Nameless]) -> list[str]:
    """Short names; of equal ones only arms with settings keep them, the others are called by where they are."""
    count = Counter(arm.place.name for arm in arms)
    placed = {name for name, number in count.items() if number > 1 and any(_is_unknown(arm, name) for arm in arms)}
    above = Path(os.path.commonpath([arm.place.parent for arm in arms]))
    short = _short(list(count))
    return [str(arm.place.relative_to(above)) if arm.place.name in placed else short[arm.place.name] for arm in arms]


def _is_unknown(arm: Nameless, name: str) -> bool:
    return arm.place.name == name and not arm.settings


def _short(names: Sequence[str]) -> dict[str, str]:
    between = "__" if all("__" in name for name in names) else "-"  # ManiSkill and CleanRL: task__script
    parts = {name: name.split(between) for name in names}
    shared = set.intersection(*map(set, parts.values())) if len(names) > 1 else set[str]()
    short = {name: between.join(part for part in own if part not in shared) for name, own in parts.items()}
    return (
        short
        if all(short.values()) and len(set(short.values())) == len(names)
        else dict(zip(names, names, strict=True))
    )
