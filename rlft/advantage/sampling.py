"""Means of sampled returns, with their errors, and where further samples help most.

Legend: `S` starts (a state, and perhaps a first action, whose mean return is wanted), `J` re-rollouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlft.types import Branches, Jobs, TensorRows

MAX_SAMPLES = 2**20  # of one start; sample k of start i has the noise of address i * MAX_SAMPLES + k


@dataclass(frozen=True)
class MeanReturns(TensorRows):
    """What the re-rollouts from each start returned on average."""

    mean: Tensor  # [S], NaN where no re-rollout was valid
    squared_error: Tensor  # [S], of the mean, estimated from the samples; NaN where fewer than two were valid
    count: Tensor  # [S] int64, valid re-rollouts
    steps: Tensor  # [S], env steps of a re-rollout on average
    samples: Tensor  # [S, K], the returns by number of the sample, or the means of pairs; NaN where there is none

    def covariance(self, other: MeanReturns) -> Tensor:
        """[S]: of these means and those of `other [S]`, whose sample k used the same noise."""
        own, others = self.samples.isfinite(), other.samples.isfinite()  # [S, K]
        shared = own & others
        count = shared.sum(1)  # [S]

        def deviation(samples: Tensor) -> Tensor:
            kept = torch.where(shared, samples, 0.0)
            return torch.where(shared, kept - kept.sum(1, keepdim=True) / count[:, None], 0.0)

        covariance = (deviation(self.samples) * deviation(other.samples)).sum(1) / (count - 1)
        return torch.where(count > 1, covariance * count / (own.sum(1) * others.sum(1)), 0.0)


def mean_returns(
    play: Callable[[Jobs], Branches], starts: Jobs, num_samples: int, *, antithetic: bool, pilot_samples: int | None
) -> MeanReturns:
    """Plays re-rollouts from every start and averages them.

    Args:
        play: plays re-rollouts.
        starts: one row per start; its `noise` numbers the start.
        num_samples: re-rollouts per start, or as many as cost the same if there is a pilot.
        antithetic: samples 2k and 2k + 1 use the same noise with opposite signs.
        pilot_samples: re-rollouts of every start before the rest is spent where the returns vary most.
    """

    def sample(counts: Tensor, first: int) -> _Samples:
        start = torch.arange(len(starts)).repeat_interleave(counts)  # [J]
        k = first + torch.arange(len(start)) - (counts.cumsum(0) - counts)[start]  # [J], number of the sample
        jobs = starts[start]
        noise, sign = jobs.noise * MAX_SAMPLES + k, jobs.noise_sign
        if antithetic:
            noise, sign = jobs.noise * MAX_SAMPLES + k // 2, sign * (1 - 2 * (k % 2))
        branches = play(replace(jobs, noise=noise, noise_sign=sign))
        return _Samples(start, k, branches.discounted_return, branches.steps.float(), branches.valid)

    everywhere = torch.ones(len(starts), dtype=torch.int64)
    if pilot_samples is None:
        return _average(sample(num_samples * everywhere, 0), len(starts), antithetic=antithetic)
    pilot = sample(pilot_samples * everywhere, 0)
    known = _average(pilot, len(starts), antithetic=antithetic)
    counts = _allocate(known, float(known.steps.nansum()) * (num_samples - pilot_samples), 2 if antithetic else 1)
    samples = _Samples.cat([pilot, sample(counts, pilot_samples)])
    return _average(samples, len(starts), antithetic=antithetic)


@dataclass(frozen=True)
class _Samples(TensorRows):
    start: Tensor  # [J] int64
    number: Tensor  # [J] int64, which sample of its start
    value: Tensor  # [J]
    steps: Tensor  # [J]
    valid: Tensor  # [J] bool


def _average(samples: _Samples, num_starts: int, *, antithetic: bool) -> MeanReturns:
    """Mean, error and cost by start. Antithetic pairs are correlated: a pair's mean counts as one sample."""
    per_unit = 2 if antithetic else 1
    valid = samples.valid.reshape(-1, per_unit).all(1)
    start = samples.start.reshape(-1, per_unit)[valid, 0]
    number = samples.number.reshape(-1, per_unit)[valid, 0] // per_unit
    value = samples.value.double().reshape(-1, per_unit).mean(1)[valid]
    steps = samples.steps.double().reshape(-1, per_unit).mean(1)[valid]

    def total(of: Tensor) -> Tensor:
        return torch.zeros(num_starts, dtype=torch.float64).index_add_(0, start, of)

    count = total(torch.ones_like(value))
    mean = total(value) / count
    variance = total((value - mean[start]) ** 2) / (count - 1).clamp(min=0)
    table = torch.full((num_starts, int(number.max()) + 1 if len(number) else 0), float("nan"))
    table[start, number] = value.float()
    return MeanReturns(
        mean=mean.float(),
        squared_error=(variance / count).float(),
        count=(per_unit * count).long(),
        steps=(total(steps) / count).float(),
        samples=table,
    )


def _allocate(known: MeanReturns, budget: float, unit: int) -> Tensor:
    """How many further samples `[S]` of each start minimise the sum of squared errors at a cost of `budget` env steps.

    Neyman allocation with costs: in proportion to standard deviation / sqrt(cost). A pilot that saw no variance may
    have been lucky, so every variance is mixed with the mean one as if that had been one more sample.
    """
    count = known.count.double() / unit
    variance = (known.squared_error * count).double().nan_to_num()  # of one sample or pair
    variance = (count * variance + variance.mean()) / (count + 1)
    cost = known.steps.double().nan_to_num(1.0).clamp(min=1.0)  # env steps per sample
    weight = variance.sqrt() / cost.sqrt()
    total = float((weight * cost).sum())
    if total == 0:
        return torch.zeros(len(weight), dtype=torch.int64)
    exact = budget / total * weight / unit
    whole = exact.floor()
    # The fractions go to whole samples at evenly spread places, so that their sum is kept.
    carried = (exact - whole).cumsum(0)
    extra = carried.floor().diff(prepend=torch.zeros(1, dtype=torch.float64))
    return (unit * (whole + extra)).long()
