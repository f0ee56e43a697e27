"""Statistics of success rates."""

from scipy.stats import binomtest
from torch import Tensor

from rlft.types import EpisodeResults


def wilson(successes: int, episodes: int) -> tuple[float, float]:
    """95% Wilson interval of a success rate."""
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


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


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
