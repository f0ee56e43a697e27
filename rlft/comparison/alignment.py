"""Curves on a common axis, without points that nobody measured.

At any x a run counts with its latest evaluation at or before x: nothing is interpolated. The curve of several runs has
its points where one of them was evaluated, from where all of them have begun to where the first of them ends, so its
mean is always over the same seeds. Where all were evaluated at the same points, these are exactly the points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rlft.comparison.axes import AXES, AXIS_NAMES, Axis, iterations
from rlft.comparison.runs import Array, Run, Steps
from rlft.errors import UserError
from rlft.statistics.rates import wilson

MOST_POINTS = 200  # of a curve, so that a log of every episode can be drawn
Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True)
class Curve:
    """The evaluations of one run, in the order in which they were made.

    Attributes:
        run: where they come from.
        x: `[E]` on the axis of the comparison.
        value: `[E]` of the metric.
        low: `[E]` lower end of the 95% Wilson interval of the episodes; NaN if the log does not tell.
        high: `[E]` upper end.
        begun: how many evaluations were made before any training.
    """

    run: Run
    x: Array
    value: Array
    low: Array
    high: Array
    begun: int

    def at(self, x: Array) -> Array:
        """The latest value at or before each `x [P]`."""
        return self.value[np.searchsorted(self.x, x, side="right") - 1]


def curve(run: Run, metric: str, axis: Axis, episodes: int) -> Curve:
    """The metric of a run against an axis.

    Args:
        run: the run.
        metric: tag, by rlft's name.
        axis: what x is.
        episodes: of an evaluation, for Wilson intervals where the log has none; 0 if unknown.

    Raises:
        UserError: if the run has not logged what this takes.
    """
    steps, value = run.series(metric)
    low, high = _wilson(run, metric, steps, value, episodes)
    return Curve(run, _x(run, axis, steps), value, low, high, begun=int(_before_training(run, steps).sum()))


def align(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """The points `x [P]` of several runs and their values `[S, P]`; none if the runs have no stretch in common."""
    begin, end = max(one.x[0] for one in curves), min(one.x[-1] for one in curves)
    x = np.unique(np.concatenate([one.x for one in curves]))
    x = thinned(x[(x >= begin) & (x <= end)], MOST_POINTS)
    return x, np.array([one.at(x) for one in curves])


def thinned(x: NDArray[Number], most: int) -> NDArray[Number]:
    """At most so many of the points, evenly by number, with the first and the last."""
    return x if len(x) <= most else x[np.linspace(0, len(x) - 1, most).round().astype(np.int64)]


def _x(run: Run, axis: Axis, steps: Steps) -> Array:
    try:
        return AXES[axis](run, steps)
    except UserError as error:
        raise UserError(f"{run.name} does not log its {AXIS_NAMES[axis]}; choose another --x.") from error


def _before_training(run: Run, steps: Steps) -> NDArray[np.bool_]:
    try:
        return np.asarray(iterations(run, steps) == 0)
    except UserError:  # nothing tells iterations
        return np.asarray(steps == 0)


def _wilson(run: Run, metric: str, steps: Steps, value: Array, episodes: int) -> tuple[Array, Array]:
    if f"{metric}_low" in run.scalars and f"{metric}_high" in run.scalars:
        low, high = (
            np.array([run.scalars[f"{metric}_{end}"].get(step, math.nan) for step in steps.tolist()])
            for end in ("low", "high")
        )
        return low, high
    if not episodes or not ((value >= 0) & (value <= 1)).all():
        nothing = np.full(len(value), math.nan)
        return nothing, nothing
    bounds = np.array([wilson(round(rate * episodes), episodes) for rate in value.tolist()])
    return bounds[:, 0], bounds[:, 1]
