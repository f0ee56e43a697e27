"""What several seeds say of a method: means, interquartile means, intervals, and which of two methods is better.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", for a single task.
Resamples come from generators of our own with a fixed seed, so the same runs always get the same intervals.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlft.statistics import wilson

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]  # of the last dimension

RESAMPLES = 10_000
EXACT_SEEDS = 14  # up to here all sign flips are tried, 16,384 of them


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; the bounds are NaN where nothing supports one."""

    value: float
    low: float = math.nan
    high: float = math.nan


def mean(values: Array) -> Array:
    """Over the last dimension."""
    return np.asarray(values.mean(-1))


def iqm(values: Array) -> Array:
    """Interquartile mean over the last dimension: without the lowest and the highest quarter, rounded down."""
    count = values.shape[-1]
    cut = count // 4
    return np.asarray(np.sort(values, -1)[..., cut : count - cut].mean(-1))


def over_seeds(statistic: Statistic, values: Array) -> Estimate:
    """A statistic of `[S]` seeds with its percentile bootstrap interval; a single seed has none."""
    value = float(statistic(values))
    if len(values) < 2:
        return Estimate(value)
    return Estimate(value, *_percentiles(statistic(values[_resamples(len(values))])))


def difference(first: Array, second: Array, paired: bool) -> Estimate:
    """Mean of `first [S]` less mean of `second [T]`; with `paired`, entries of the same seed are resampled together."""
    if paired:
        return over_seeds(mean, first - second)
    value = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2:
        return Estimate(value)
    drawn = first[_resamples(len(first))].mean(1) - second[_resamples(len(second), stream=1)].mean(1)
    return Estimate(value, *_percentiles(drawn))


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


def paired_episodes(first: Sequence[bool], second: Sequence[bool]) -> tuple[Estimate, float]:
    """Difference of two success rates over the same initial states, with its interval and McNemar's p-value.

    Args:
        first: success of each episode, at least one.
        second: success of as many episodes that began in the same states.
    """
    outcomes = Counter(zip(first, second, strict=True))
    both, only_first, only_second, neither = (outcomes[a, b] for a in (True, False) for b in (True, False))
    one, other = (Estimate(sum(own) / len(own), *wilson(sum(own), len(own))) for own in (first, second))
    return newcombe(one, other, phi(both, only_first, only_second, neither)), mcnemar_p(only_first, only_second)


def phi(both: int, first: int, second: int, neither: int) -> float:
    """Correlation of paired outcomes by how often both succeeded, only the first, only the second, neither.

    With the continuity correction of Newcombe's paper, which takes a positive one for smaller than it is.
    """
    sizes = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not sizes:
        return 0.0
    excess = both * neither - first * second
    corrected = max(0.0, excess - (both + first + second + neither) / 2) if excess > 0 else excess
    return corrected / math.sqrt(sizes)


def mcnemar_p(first: int, second: int) -> float:
    """Two-sided p-value of McNemar's exact test of `first` pairs won by the first alone, `second` by the second."""
    fewer, pairs = min(first, second), first + second
    return min(1.0, sum(math.comb(pairs, k) for k in range(fewer + 1)) / 2 ** (pairs - 1)) if pairs else 1.0


def sign_flip_p(differences: Array) -> float:
    """Two-sided p-value of the mean of paired differences `[S]`, by flipping their signs.

    Exact whatever the distribution, and unlike Wilcoxon's test it knows how large the differences are. With S seeds it
    cannot be below 2 / 2^S.
    """
    count = len(differences)
    if count <= EXACT_SEEDS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))  # [2^S, S]
    else:  # the signs as they are belong to the sample, so that p is never 0
        drawn = np.random.default_rng(0).choice((1.0, -1.0), size=(RESAMPLES - 1, count))
        signs = np.concatenate((np.ones((1, count)), drawn))
    flipped = np.abs(signs @ differences)
    tolerance = 1e-9 * np.abs(differences).sum()  # sums of equal terms in another order differ in the last bits
    return float((flipped >= flipped[0] - tolerance).mean())


def improvement(first: Array, second: Array) -> Estimate:
    """Probability that a run of `first [S]` is above one of `second [T]`, ties counting half; both are resampled."""
    wins = 0.5 + 0.5 * np.sign(first[:, None] - second[None, :])  # [S, T]
    value = float(wins.mean())
    if min(wins.shape) < 2:
        return Estimate(value)
    rows, columns = _resamples(len(first)), _resamples(len(second), stream=1)
    return Estimate(value, *_percentiles(wins[rows[:, :, None], columns[:, None, :]].mean((1, 2))))


@functools.cache
def _resamples(count: int, stream: int = 0) -> NDArray[np.int64]:
    """Which of `count` seeds each resample holds, `[R, count]`: the same for all groups of as many seeds."""
    return np.random.default_rng((0, stream)).integers(count, size=(RESAMPLES, count))


def _percentiles(drawn: Array) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
