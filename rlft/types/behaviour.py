"""What tells how a policy behaves: numbers that a task reports of an episode, and what failed episodes are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Over = Literal["mean", "min", "max", "last"]
Range = tuple[float | None, float | None]  # from, to, both included; `None` for no bound


@dataclass(frozen=True)
class Measure:
    """A number of an episode."""

    name: str  # as `max_cube_z`
    entry: str  # of `EnvSpec.info`, whose steps it sums up
    over: Over  # the steps of the episode


@dataclass(frozen=True)
class Failure:
    """A kind of failed episode, told from its numbers."""

    kind: str  # a verb with what follows, as `hovers_open_handed`
    within: Mapping[str, Range]  # measures, and the range in which each of them is


@dataclass(frozen=True)
class Behaviour:
    """What a task reports of an episode; nothing, for most tasks."""

    measures: tuple[Measure, ...] = ()
    failures: tuple[Failure, ...] = ()  # of a failed episode the first that fits counts

    @property
    def names(self) -> list[str]:
        """Of the measures."""
        return [measure.name for measure in self.measures]


NO_BEHAVIOUR = Behaviour()
