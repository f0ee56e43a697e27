"""What the name of a run's folder says of its seed, in the spellings that tools and people use.

`ppo-seed1`, `ppo_seed_1`, `seed1_ppo`, `lr=0.001,seed=1`, `PPO_seed1_lr3e-4`, `seed_1` in a folder of its arm;
`task__script__1__1700000000` of ManiSkill and CleanRL; `PPO_CartPole_1a2b3_00001_1_lr=0.001,seed=1_2024-05-01_12-30-00`
of Ray Tune. A bare number, as in `PPO_1` of Stable-Baselines3 or in Hydra's `0`, `1`, counts runs and is no seed; `_s1`
may be one, or a stage. Names with two different seeds say none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlft.comparison.runs import Run

TIMED = re.compile(r"(?P<stem>.+)__(?P<seed>\d+)__\d{9,}")  # ManiSkill and CleanRL: task__script__seed__time
EDGE = r"[-_,.+ ]"  # between the words of a name
OTHER = r"(?<!env)(?<!eval)(?<!data)(?<!test)(?<!split)"  # seeds of something else than training
SEED = re.compile(rf"(?:^|{OTHER}{EDGE})seed[-_= ]?(?P<seed>\d+)(?=$|[-_,+ ]|\.(?!\d))", re.I)
TIME = re.compile(r"[-_]?(\d{4}-\d\d-\d\d[-_T ]\d\d[-_:.]\d\d([-_:.]\d\d)?|\d{8}[-_T]\d{6}|\d{9,})(?=$|[-_])")
TRIAL = re.compile(r"_[0-9a-f]{5,8}_\d{5}_\d+(?=_)")  # Ray Tune's, another one for each seed
COUNTED = re.compile(r"(?:(?P<stem>.*)[-_])?s?\d+")


class Name(NamedTuple):
    """What a name says: `stem` without the seed, which may be empty; `seed` is -1 if it tells none."""

    stem: str
    seed: int


def named(name: str) -> Name:
    """Reads the name of a run's folder."""
    if timed := TIMED.fullmatch(name):
        return Name(timed["stem"], int(timed["seed"]))
    found = list(SEED.finditer(name))
    if len({int(match["seed"]) for match in found}) != 1:
        return Name(name, -1)
    stem = TIME.sub("", TRIAL.sub("", SEED.sub("", name)))
    return Name(stem.strip("-_,.+ "), int(found[0]["seed"]))


def counted(arms: Sequence[Sequence[Run]]) -> Iterator[str]:
    """A sentence for runs that are arms of their own, though their names differ in a last number alone.

    Args:
        arms: runs of which nothing but the name tells what they are.
    """
    alike: dict[Path, list[Run]] = {}
    for first, *others in arms:
        if first.seed < 0 and not others and (match := COUNTED.fullmatch(first.place.name)):
            alike.setdefault(first.place.with_name(match["stem"] or first.place.parent.name), []).append(first)
    for stem, runs in alike.items():
        if len(runs) > 1:
            more = f" and {len(runs) - 2} others" if len(runs) > 2 else ""
            together = " ".join(shlex.quote(f"{stem.name}={run.place}") for run in runs[:2]) + " ..." * bool(more)
            yield (
                f"{runs[0].name} and {runs[1].name}{more} are arms of their own, as a number in a name need be no "
                f"seed. If it is one, give them one label ({together})."
            )
