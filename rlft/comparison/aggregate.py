"""What several seeds say of a method: means, interquartile means, intervals, and which of two methods is better.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", for a single task;
with several tasks, the seeds of each are resampled by themselves (their stratified bootstrap).
Resamples come from generators of our own with a fixed seed, so the same runs always get the same intervals.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rlft.statistics.rates import Estimate

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]  # of the last dimension

RESAMPLES = 10_000
EXACT_SEEDS = 14  # up to here all sign flips are tried, 16,384 of them


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


def over_tasks(statistic: Statistic, scores: Sequence[Array]) -> Estimate:
    """A statistic of all runs of several tasks, `[S]` each, with its stratified bootstrap interval.

    There is none where every task has a single seed.
    """
    value = float(statistic(np.concatenate(scores)))
    if all(len(own) < 2 for own in scores):
        return Estimate(value)
    drawn = [own[_resamples(len(own), stream=task)] for task, own in enumerate(scores)]
    return Estimate(value, *_percentiles(statistic(np.concatenate(drawn, 1))))


def improvement_over_tasks(first: Sequence[Array], second: Sequence[Array]) -> Estimate:
    """Mean over tasks of the probability that a run of the first is above one of the second, `[S]` and `[T]` each."""
    values, draws = [], []
    for task, (one, other) in enumerate(zip(first, second, strict=True)):
        wins = _wins(one, other)
        values.append(wins.mean())
        shares = _shares(len(one), stream=2 * task), _shares(len(other), stream=2 * task + 1)
        draws.append((shares[0] @ wins * shares[1]).sum(1))
    value = float(np.mean(values))
    if all(max(len(one), len(other)) < 2 for one, other in zip(first, second, strict=True)):
        return Estimate(value)
    return Estimate(value, *_percentiles(np.mean(draws, 0)))


def difference(first: Array, second: Array, paired: bool) -> Estimate:
    """Mean of `first [S]` less mean of `second [T]`; with `paired`, entries of the same seed are resampled together."""
    if paired:
        return over_seeds(mean, first - second)
    value = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2:
        return Estimate(value)
    drawn = first[_resamples(len(first))].mean(1) - second[_resamples(len(second), stream=1)].mean(1)
    return Estimate(value, *_percentiles(drawn))


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
    wins = _wins(first, second)
    value = float(wins.mean())
    if min(wins.shape) < 2:
        return Estimate(value)
    drawn = (_shares(len(first)) @ wins * _shares(len(second), stream=1)).sum(1)
    return Estimate(value, *_percentiles(drawn))


def _wins(first: Array, second: Array) -> Array:
    """1 where a run of `first [S]` is above one of `second [T]`, a half where they are equal, `[S, T]`."""
    return np.asarray(0.5 + 0.5 * np.sign(first[:, None] - second[None, :]))


@functools.cache
def _resamples(count: int, stream: int = 0) -> NDArray[np.int64]:
    """Which of `count` seeds each resample holds, `[R, count]`: the same for all groups of as many seeds."""
    return np.random.default_rng((0, stream)).integers(count, size=(RESAMPLES, count))


@functools.cache
def _shares(count: int, stream: int = 0) -> Array:
    """Which share of each resample is which seed, `[R, count]`."""
    drawn = _resamples(count, stream)
    return np.stack([(drawn == seed).mean(1) for seed in range(count)], axis=1)


def _percentiles(drawn: Array) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
