"""How much of a measured order is noise: reliability, ceilings, and where the variance of Q comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rlft.statistics.correlations import Array, pearson_within, spearman


@dataclass(frozen=True)
class Reliability:
    """What two independent halves of the same measurement say about its noise, within states."""

    half_pearson: float  # of one half with the other, within states
    half_spearman: float  # mean over states
    reliability: float  # of the whole: the share of its within-state variance that is not noise
    ceiling: float  # Pearson's r within states that a perfect estimator would have with the whole
    rho_ceiling: float  # roughly the same for Spearman's rho, from `half_spearman`


@dataclass(frozen=True)
class Variances:
    """Variance of Q between states and among the actions of a state."""

    between: float  # Var_s(E_a Q)
    within: float  # E_s(Var_a Q)

    @property
    def ratio(self) -> float:
        """Between / within, the `500x` of the founding documents; infinite if nothing is left within."""
        return self.between / self.within if self.within > 0 else math.inf


def split_half(samples: Array) -> Reliability:
    """Reliability of the mean over the samples of each action, `[N, J, K]` with K >= 2."""
    half = samples.shape[2] // 2
    first, second = samples[:, :, :half].mean(2), samples[:, :, half : 2 * half].mean(2)
    r = pearson_within(first, second)
    rho = spearman(first, second)
    kept = rho[~np.isnan(rho)]
    mean_rho = float(kept.mean()) if len(kept) else math.nan
    whole, whole_rho = spearman_brown(r), spearman_brown(mean_rho)
    return Reliability(r, mean_rho, whole, math.sqrt(max(whole, 0.0)), math.sqrt(max(whole_rho, 0.0)))


def reliability_by_state(samples: Array) -> Array:
    """Share of the variance among a state's mean values that is not noise, `[N]`, from samples `[N, J, K]`, K >= 2.

    Negative by chance where there is nothing but noise, and 0 where not even that.
    """
    variance = samples.mean(2).var(1, ddof=1)  # [N]
    share: Array = 1 - _noise_within(samples) / np.where(variance > 0, variance, np.inf)
    return np.where(variance > 0, share, 0.0)


def spearman_brown(half_correlation: float) -> float:
    """Reliability of the whole from the correlation r of its halves, 2 r / (1 + r) (Spearman 1910, Brown 1910)."""
    return 2 * half_correlation / (1 + half_correlation) if half_correlation > -1 else math.nan


def disattenuated(correlation: float, truth: float, estimate: float = 1.0) -> float:
    """What a Pearson correlation would be without the noise in truth and estimate (Spearman 1904).

    Args:
        correlation: as observed.
        truth: reliability of the ground truth.
        estimate: reliability of the estimator; 1 keeps its noise in, as a property of the estimator.

    Returns:
        The correlation without noise, above 1 by chance; NaN if a reliability is not positive.
    """
    return correlation / math.sqrt(truth * estimate) if truth > 0 and estimate > 0 else math.nan


def raw_variances(q: Array) -> Variances:
    """Of measured values `[N, J]`, noise included. The two add up to the variance of all values."""
    return Variances(between=float(q.mean(1).var()), within=float(q.var(1).mean()))


def corrected_variances(samples: Array) -> Variances:
    """Of the true values, without bias, from samples `[N, J, K]` of each with K, J, N >= 2.

    The samples k of a state's actions may share noise, so errors are measured on what enters: the deviations from the
    state's mean, and that mean. Estimates of small variances may come out negative.
    """
    num_actions, num_samples = samples.shape[1:]
    noise_between = samples.mean(1).var(1, ddof=1) / num_samples  # [N]
    q = samples.mean(2)  # [N, J]
    within = float((q.var(1, ddof=1) - _noise_within(samples)).mean())
    # A mean over J actions is not the expectation: it keeps 1 / J of the variance among actions.
    between = float(q.mean(1).var(ddof=1) - noise_between.mean() - within / num_actions)
    return Variances(between, within)


def _noise_within(samples: Array) -> Array:
    """How much noise adds to the variance (ddof 1) among the mean values of a state's actions, `[N]`."""
    num_actions, num_samples = samples.shape[1:]
    deviation = samples - samples.mean(1, keepdims=True)  # [N, J, K]
    noise: Array = deviation.var(2, ddof=1).sum(1) / (num_actions - 1) / num_samples
    return noise
