"""Statistics of success rates. Imports no torch, for commands that only read logs and start at once."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from rlft.types import EpisodeResults, Rollout

Z = NormalDist().inv_cdf(0.975)


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """95% Wilson interval of a success rate (Wilson 1927)."""
    rate, shrinkage = successes / episodes, 1 + Z**2 / episodes
    centre = (rate + Z**2 / (2 * episodes)) / shrinkage
    half = Z * math.sqrt(rate * (1 - rate) / episodes + (Z / (2 * episodes)) ** 2) / shrinkage
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == episodes else centre + half)


def summarize(results: EpisodeResults) -> dict[str, float]:
    """Success rates with the Wilson interval, mean return, mean length (env steps)."""
    low, high = wilson(int(results.success_once.sum()), len(results))
    return {
        "success_rate": _mean(results.success_once),
        "success_rate_low": low,
        "success_rate_high": high,
        "success_at_end": _mean(results.success_at_end),
        "return": _mean(results.episode_return),
        "episode_length": _mean(results.length),
    }


def legacy_success_rate(rollout: Rollout) -> tuple[float, int]:
    """The success rate as the founding documents measured it, and the number of episodes it averages.

    The average over the episodes that finish within the rollout is biased upwards: a failure takes the whole time
    limit, so every further episode that still finishes is a success. For comparison with old figures only.
    """
    finished = int(rollout.done.sum())
    return (float(rollout.success[rollout.done].double().mean()) if finished else 0.0), finished


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
