"""Numbers that change with the steps of a run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from rlft.errors import UserError

Interpolation = Literal["constant", "linear"]


class Piecewise:
    """A number by step: that of the first point before it, that of the last one after it.

    Args:
        points: `(step, number)`, with increasing steps.
        interpolation: `constant` keeps a point's number up to the next point, `linear` goes there in a straight line.
        name: what holds them, for sentences about mistakes: `LearningRateSchedule.points`.

    Raises:
        UserError: if there is none, if steps do not increase, or if a number is not finite.
    """

    def __init__(self, points: Sequence[tuple[int, float]], interpolation: Interpolation, name: str) -> None:
        steps = [step for step, _ in points]
        if not points or steps[0] < 0 or not all(a < b for a, b in pairwise(steps)):
            raise UserError(f"{name} has the steps {steps}; there must be some, from 0 on and increasing.")
        for step, number in points:
            if not math.isfinite(number):
                raise UserError(f"{name} has {number} at step {step}; it must be finite.")
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
