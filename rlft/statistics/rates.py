"""Statistics of success rates. Imports no torch, for commands that only read logs and start at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; the bounds are NaN where nothing supports one."""

    value: float
    low: float = math.nan
    high: float = math.nan


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """95% Wilson interval of a success rate (Wilson 1927)."""
    rate, shrinkage = successes / episodes, 1 + Z**2 / episodes
    centre = (rate + Z**2 / (2 * episodes)) / shrinkage
    half = Z * math.sqrt(rate * (1 - rate) / episodes + (Z / (2 * episodes)) ** 2) / shrinkage
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == episodes else centre + half)


def newcombe(first: Estimate, second: Estimate, correlation: float = 0.0) -> Estimate:
    """Difference of two rates with Newcombe's interval, made of their Wilson intervals.

    Newcombe 1998, method 10 of "Interval estimation for the difference between independent proportions", and with the
    `correlation` of paired outcomes method 10 of "Improved confidence intervals for the difference between binomial
    proportions based on paired data".
    """
    value = first.value - second.value
    down = _distance(first.value - first.low, second.high - second.value, correlation)
    up = _distance(first.high - first.value, second.value - second.low, correlation)
    return Estimate(value, value - down, value + up)


def _distance(one: float, other: float, correlation: float) -> float:
    """The root of `one**2 - 2 * correlation * one * other + other**2`, which rounding cannot make negative."""
    return math.hypot(one - correlation * other, math.sqrt(1 - correlation**2) * other)


@dataclass(frozen=True)
class Paired:
    """Two success rates over the same initial states.

    Attributes:
        difference: first less second, with Newcombe's interval for paired rates.
        won: initial states from which only the first succeeded.
        lost: initial states from which only the second succeeded.
        p: of McNemar's exact test, two-sided.
    """

    difference: Estimate
    won: int
    lost: int
    p: float


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compares two policies by their successes in at least one episode, each from the same initial state for both."""
    outcomes = Counter(zip(first, second, strict=True))
    both, won, lost, neither = (outcomes[a, b] for a in (True, False) for b in (True, False))
    one, other = (Estimate(sum(own) / len(own), *wilson(sum(own), len(own))) for own in (first, second))
    return Paired(newcombe(one, other, phi(both, won, lost, neither)), won, lost, mcnemar_p(won, lost))


def phi(both: int, won: int, lost: int, neither: int) -> float:
    """Correlation of paired outcomes by how often both succeeded, only the first, only the second, neither.

    With the continuity correction of Newcombe's paper, which takes a positive one for smaller than it is.
    """
    sizes = (both + won) * (lost + neither) * (both + lost) * (won + neither)
    if not sizes:
        return 0.0
    excess = both * neither - won * lost
    corrected = max(0.0, excess - (both + won + lost + neither) / 2) if excess > 0 else excess
    return corrected / math.sqrt(sizes)


def mcnemar_p(won: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test, which looks at the pairs with unequal outcomes alone."""
    fewer, unequal = min(won, lost), won + lost
    return min(1.0, sum(math.comb(unequal, k) for k in range(fewer + 1)) / 2 ** (unequal - 1)) if unequal else 1.0


def p_text(p: float) -> str:
    """A p-value as it is printed; NaN is none."""
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
