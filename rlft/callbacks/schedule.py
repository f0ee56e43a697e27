"""What callbacks with a schedule have in common: how far a run is, and numbers that change with it."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Literal

from rlft.errors import UserError
from rlft.modules.iteration import IterationModule

Unit = Literal["iterations", "env_steps"]
Interpolation = Literal["constant", "linear"]


def progress(module: IterationModule, unit: Unit) -> int:
    """How many iterations or env steps of the whole run lie behind an iteration that begins."""
    return module.current_epoch if unit == "iterations" else module.env_steps


def check_unit(module: IterationModule, unit: Unit, name: str) -> None:
    """Refuses to count env steps where there are none; called in `setup`.

    Raises:
        UserError: if the module learns from fixed data.
    """
    if unit == "env_steps" and module.source.fixed:
        raise UserError(f"{name}.unit is env_steps, which stand still with fixed data; it must be iterations.")


class Piecewise:
    """A number by step: that of the first point before it, that of the last one after it.

    Args:
        points: `(step, number)`, with increasing steps.
        interpolation: `constant` keeps a point's number up to the next point, `linear` goes there in a straight line.
        name: of the callback, for sentences about mistakes.
    """

    def __init__(self, points: list[tuple[int, float]], interpolation: Interpolation, name: str) -> None:
        steps = [step for step, _ in points]
        if not points or steps[0] < 0 or not all(a < b for a, b in pairwise(steps)):
            raise UserError(f"{name}.points has the steps {steps}; there must be some, from 0 on and increasing.")
        for step, number in points:
            if not math.isfinite(number):
                raise UserError(f"{name}.points has {number} at step {step}; it must be finite.")
        self.points = points
        self.interpolation = interpolation

    def at(self, step: int) -> float:
        """The number of a step."""
        passed = bisect_right(self.points, step, key=lambda point: point[0])
        if passed == 0:
            return self.points[0][1]
        start, number = self.points[passed - 1]
        if self.interpolation == "constant" or passed == len(self.points):
            return number
        end, following = self.points[passed]
        return number + (following - number) * (step - start) / (end - start)
