"""Success of evaluation episodes, as numbers to log."""

from __future__ import annotations

import torch
from torch import Tensor

from rlft.statistics.rates import wilson
from rlft.types import NO_BEHAVIOUR, Behaviour, EpisodeResults, Rollout

OTHERWISE = "does_something_else"  # the kind of failed episodes that fit none of a task's kinds


def summarize(results: EpisodeResults, behaviour: Behaviour = NO_BEHAVIOUR) -> dict[str, float]:
    """Success rates with the Wilson interval, mean return, mean length (env steps), and what the policy does.

    Of `behaviour` there are the mean of each measure, as `behaviour/max_cube_z`, and the share of each kind of failure
    in all episodes, as `failed/hovers_open_handed`: these and `success_rate` add up to 1.
    """
    low, high = wilson(int(results.success_once.sum()), len(results))
    return {
        "success_rate": _mean(results.success_once),
        "success_rate_low": low,
        "success_rate_high": high,
        "success_at_end": _mean(results.success_at_end),
        "return": _mean(results.episode_return),
        "episode_length": _mean(results.length),
        **{f"behaviour/{name}": _mean(column) for name, column in _columns(results, behaviour).items()},
        **{f"failed/{kind}": share for kind, share in _failed(results, behaviour).items()},
    }


def _columns(results: EpisodeResults, behaviour: Behaviour) -> dict[str, Tensor]:
    """Each measure, `[E]`; none if nobody has said what there is."""
    if not behaviour.measures:
        return {}
    return dict(zip(behaviour.names, results.behaviour.unbind(1), strict=True))


def _failed(results: EpisodeResults, behaviour: Behaviour) -> dict[str, float]:
    """Share of each kind of failure in all episodes; of a failed episode the first kind that fits counts."""
    if not behaviour.failures:
        return {}
    columns, left = _columns(results, behaviour), ~results.success_once
    shares = {failure.kind: 0.0 for failure in behaviour.failures}
    for failure in behaviour.failures:
        fits = left.clone()
        for name, (low, high) in failure.within.items():
            fits &= columns[name] >= (-torch.inf if low is None else low)
            fits &= columns[name] <= (torch.inf if high is None else high)
        shares[failure.kind] += _mean(fits)
        left = left & ~fits
    return {**shares, OTHERWISE: _mean(left)}


def legacy_success_rate(rollout: Rollout) -> tuple[float, int]:
    """The success rate as the founding documents measured it, and the number of episodes it averages.

    The average over the episodes that finish within the rollout is biased upwards: a failure takes the whole time
    limit, so every further episode that still finishes is a success. For comparison with old figures only.
    """
    finished = int(rollout.done.sum())
    return (float(rollout.success[rollout.done].double().mean()) if finished else 0.0), finished


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
