"""Success of evaluation episodes, as numbers to log."""

from __future__ import annotations

from torch import Tensor

from rlft.statistics.rates import wilson
from rlft.types import EpisodeResults, Rollout


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
