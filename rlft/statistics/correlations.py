"""How well estimates rank the actions of one state, and states among each other.

Arrays are `[N, J]`: `N` states with `J` actions each. A state whose true values are all equal has no order to find: it
is dropped and counted. An estimate that does not vary in a state says nothing: its correlation there is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
RESAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95% percentile bootstrap interval over states."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class WithinState:
    """Agreement on the order of the actions of a state, averaged over the states that have one."""

    spearman: Interval  # ties get average ranks
    kendall: Interval  # tau-b
    top1: Interval  # how often the best action is the same; chance is 1 / J
    concordance: Interval  # share of the pairs that are in the true order; chance is 1/2
    pearson: Interval  # of all pairs together, after subtracting each state's mean from both
    states: int  # that are averaged over
    dropped: int  # states whose true values are all equal
    spearman_all: float  # the mean with 0 for dropped states


def within_state(estimate: Array, truth: Array) -> WithinState:
    """All measures of `estimate [N, J]` against `truth [N, J]`."""
    rho = spearman(estimate, truth)
    x, y = _centred(estimate), _centred(truth)
    xy, xx, yy = (x * y).sum(1), (x**2).sum(1), (y**2).sum(1)  # [N]
    return WithinState(
        spearman=mean_over_states(rho),
        kendall=mean_over_states(kendall(estimate, truth)),
        top1=mean_over_states(top1_agreement(estimate, truth)),
        concordance=mean_over_states(concordance(estimate, truth)),
        pearson=bootstrap(lambda rows: _ratio(xy[rows].sum(1), xx[rows].sum(1), yy[rows].sum(1)), len(truth)),
        states=int((~np.isnan(rho)).sum()),
        dropped=int(np.isnan(rho).sum()),
        spearman_all=float(np.nan_to_num(rho).mean()),
    )


def spearman(estimate: Array, truth: Array) -> Array:
    """Spearman's rho of each state, `[N]`; NaN where the truth does not vary."""
    rho = pearson(rankdata(estimate, axis=1), rankdata(truth, axis=1), constant=0.0)
    return np.where(_varies(truth), rho, np.nan)


def kendall(estimate: Array, truth: Array) -> Array:
    """Kendall's tau-b of each state, `[N]`, which ties do not favour; NaN where the truth does not vary."""
    x, y = _pair_signs(estimate), _pair_signs(truth)  # [N, J (J - 1) / 2]
    return np.where(_varies(truth), _ratio((x * y).sum(1), (x**2).sum(1), (y**2).sum(1), 0.0), np.nan)


def concordance(estimate: Array, truth: Array) -> Array:
    """Share of the pairs of actions with different true values that the estimate orders correctly, `[N]`.

    Pairs that the estimate ties count one half. NaN where the truth does not vary.
    """
    x, y = _pair_signs(estimate), _pair_signs(truth)
    return np.where(_varies(truth), 0.5 + 0.5 * (x * y).sum(1) / np.maximum((y**2).sum(1), 1), np.nan)


def top1_agreement(estimate: Array, truth: Array) -> Array:
    """Chance that an action with the highest estimate, drawn at random, has the highest true value, `[N]`.

    NaN where the truth does not vary.
    """
    chosen = estimate == estimate.max(1, keepdims=True)
    best = truth == truth.max(1, keepdims=True)
    return np.where(_varies(truth), (chosen & best).sum(1) / chosen.sum(1), np.nan)


def pearson_within(estimate: Array, truth: Array) -> float:
    """Pearson's r of all actions together after subtracting each state's mean; NaN if either never varies."""
    return float(pearson(_centred(estimate).reshape(1, -1), _centred(truth).reshape(1, -1))[0])


def pearson(x: Array, y: Array, constant: float = np.nan) -> Array:
    """Pearson's r of each row, `[N, J]` to `[N]`; `constant` where one of them does not vary."""
    x, y = _centred(x), _centred(y)
    return _ratio((x * y).sum(1), (x**2).sum(1), (y**2).sum(1), constant)


def rank_correlation(x: Array, y: Array) -> float:
    """Spearman's rho of all entries, whichever state they belong to; NaN if either does not vary."""
    return float(pearson(*(rankdata(of, axis=None).reshape(1, -1) for of in (x, y)))[0])


def across_states(value: Array, truth: Array) -> tuple[Interval, Interval]:
    """Spearman's rho and Pearson's r of `[N]` with `[N]`."""
    return (
        bootstrap(lambda rows: pearson(rankdata(value[rows], axis=1), rankdata(truth[rows], axis=1)), len(truth)),
        bootstrap(lambda rows: pearson(value[rows], truth[rows]), len(truth)),
    )


def mean_over_states(per_state: Array) -> Interval:
    """Mean of `[N]`, without those that are NaN."""
    kept = per_state[~np.isnan(per_state)]
    return bootstrap(lambda rows: kept[rows].mean(1), len(kept))


def bootstrap(statistic: Callable[[NDArray[np.int64]], Array], count: int) -> Interval:
    """The statistic of rows `0 .. count - 1` with its percentile bootstrap interval.

    Args:
        statistic: of each of `R` samples of rows, `[R, count]` to `[R]`.
        count: how many rows there are; with none, everything is NaN.
    """
    if count == 0:
        return Interval(*[float("nan")] * 3)
    generator = np.random.default_rng(0)  # the same for all estimators: their differences are less noisy
    drawn = statistic(generator.integers(count, size=(RESAMPLES, count)))
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return Interval(float(statistic(np.arange(count)[None])[0]), float(low), float(high))


def _varies(values: Array) -> NDArray[np.bool_]:
    varies: NDArray[np.bool_] = values.max(1) > values.min(1)
    return varies


def _centred(values: Array) -> Array:
    """Less the mean of each row; exactly 0 where a row does not vary, whose mean is rounded."""
    varies = values.max(1, keepdims=True) != values.min(1, keepdims=True)  # NaN does
    return np.where(varies, values - values.mean(1, keepdims=True), 0.0)


def _pair_signs(values: Array) -> Array:
    first, second = np.triu_indices(values.shape[1], k=1)
    return np.sign(values[:, first] - values[:, second])


def _ratio(xy: Array, xx: Array, yy: Array, constant: float = np.nan) -> Array:
    """Correlations `[N]` from sums of products; `constant` where x or y does not vary."""
    scale = np.sqrt(xx * yy)  # exact where x and y have the same ranks
    return np.where(scale > 0, xy / np.where(scale > 0, scale, 1), constant)
