"""What is known of an iteration when it is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from rlft.types import Steps


@dataclass(frozen=True)
class IterationRecord:
    """The numbers of one iteration: whoever logs, shows, keeps or decides by them has these, and no others."""

    iteration: int  # from 1
    steps: Steps  # of the run, when it ended
    x: int  # what it is logged against: env steps, or iterations where all of them have the same data
    metrics: Mapping[str, float]

    def amended(self, metrics: Mapping[str, float]) -> IterationRecord:
        """The same with what was measured after it had ended; the time that this took is now part of it."""
        seconds = self.metrics["time/iteration"] + metrics.get("time/eval", 0.0)
        return replace(self, metrics={**self.metrics, **metrics, "time/iteration": seconds})


@dataclass(frozen=True)
class Began:
    """When an iteration began."""

    clock: float  # seconds, of a clock that only durations can be taken from
    steps: Steps  # of the run

    @classmethod
    def now(cls, steps: Steps) -> Self:
        """At this moment."""
        return cls(time.perf_counter(), steps)


def with_costs(metrics: Mapping[str, float], began: Began, steps: Steps) -> dict[str, float]:
    """The metrics of an iteration that ends now, and what it has cost in env steps and seconds."""
    seconds = time.perf_counter() - began.clock
    training = seconds - metrics.get("time/eval", 0.0)
    return {
        **metrics,
        "steps/env": steps.env,
        "steps/sim": steps.sim,
        "time/iteration": seconds,
        "time/update": training - metrics.get("time/rollout", 0.0) - metrics.get("time/rerollout", 0.0),
        "charts/SPS": (steps.env - began.steps.env) / training,
    }
