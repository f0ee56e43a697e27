"""The few numbers that a run's curve is reported by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlft.comparison.alignment import Curve
from rlft.comparison.runs import Array

LASTING = 3  # evaluations in a row that make a fall a collapse
ROUNDING = 1e-6  # relative; logs hold floats of 32 bits, and a threshold of 0.9 is none of them


@dataclass(frozen=True)
class Summary:
    """One run in numbers.

    Attributes:
        first: the first evaluation.
        last: the last evaluation.
        change: the last evaluation less the first one; NaN if they are the same one.
        last_fifth: mean of the last 20% of the evaluations since training began, their number rounded up.
        best: the best evaluation since training began; the maximum of noisy values, so biased upwards.
        area: height of the curve averaged over a range of x.
        reached: x of the first evaluation at or above a threshold; infinite if there is none.
        collapsed: x at which a fall began that lasted; infinite if there is none.
    """

    first: float
    last: float
    change: float
    last_fifth: float
    best: float
    area: float
    reached: float
    collapsed: float


def summarize(curve: Curve, begin: float, end: float, threshold: float, fall: float) -> Summary:
    """The numbers of a curve.

    Args:
        curve: of one run.
        begin: where the area begins, on the axis of the curve.
        end: where it ends.
        threshold: that is to be reached.
        fall: below the running best that is a collapse if it lasts.
    """
    trained = curve.value[curve.begun :] if curve.begun < len(curve.value) else curve.value
    return Summary(
        first=float(curve.value[0]),
        last=float(curve.value[-1]),
        change=float(curve.value[-1] - curve.value[0]) if len(curve.value) > 1 else math.nan,
        last_fifth=float(trained[-math.ceil(len(trained) / 5) :].mean()),
        best=float(trained.max()),
        area=area(curve.x, curve.value, begin, end),
        reached=_first(curve.x, curve.value >= threshold - _rounding(threshold)),
        collapsed=_first(curve.x, lasting_falls(curve.value, fall)),
    )


def area(x: Array, value: Array, begin: float, end: float) -> float:
    """Area under the straight lines between the evaluations, over its width; NaN if there is no width."""
    if not begin < end:
        return math.nan
    last = np.append(x[1:] > x[:-1], True)  # of several evaluations at one x, as in the curve
    x, value = x[last], value[last]
    inside = (x >= begin) & (x <= end)
    ends = np.interp([begin, end], x, value)
    x = np.concatenate(([begin], x[inside], [end]))
    value = np.concatenate((ends[:1], value[inside], ends[1:]))
    return float((np.diff(x) * (value[1:] + value[:-1]) / 2).sum() / (end - begin))


def lasting_falls(value: Array, fall: float) -> NDArray[np.bool_]:
    """Where the value is more than `fall` below its running best, and stays there to the end or for `LASTING`."""
    best = np.maximum.accumulate(value)
    low = value < best - fall - _rounding(best)
    return np.array([bool(low[i : i + LASTING].all()) for i in range(len(low))])


def _rounding(value: Array | float) -> Array:
    """How far what was logged as `value` may be from it."""
    return np.asarray(ROUNDING * np.maximum(1.0, np.abs(value)))


def _first(x: Array, where: NDArray[np.bool_]) -> float:
    return float(x[where.argmax()]) if where.any() else math.inf
