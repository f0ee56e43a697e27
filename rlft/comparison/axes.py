"""How far a run had come at a step of its log: in env steps, simulator steps, iterations, updates, hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from rlft.comparison.event_files import ITERATION_TAGS
from rlft.comparison.runs import Array, Run, Steps

Axis = Literal["iteration", "env_steps", "sim_steps", "relative", "gradient_steps", "training_hours"]
AXIS_NAMES: dict[Axis, str] = {
    "iteration": "iteration",
    "env_steps": "env steps",
    "sim_steps": "simulator steps",
    "relative": "env steps since the first evaluation",
    "gradient_steps": "gradient steps of the critic",
    "training_hours": "training hours",
}
Reader = Callable[[Run, Steps], Array]  # raises UserError if the run has not logged it


def iterations(run: Run, steps: Steps) -> Array:
    """How many iterations had been completed."""
    known, _ = run.series(next((tag for tag in ITERATION_TAGS if run.has(tag)), ITERATION_TAGS[0]))
    return np.searchsorted(known, steps, side="right").astype(np.float64)


def env_steps(run: Run, steps: Steps) -> Array:
    """Collected env steps; tools that do not log them log against them."""
    return run.latest("steps/env", steps) if run.has("steps/env") else steps.astype(np.float64)


def sim_steps(run: Run, steps: Steps) -> Array:
    """Simulator steps with those of re-rollouts, without those of evaluations."""
    return run.latest("steps/sim", steps)


def relative_steps(run: Run, steps: Steps) -> Array:
    """Env steps since the first of the steps."""
    counted = env_steps(run, steps)
    return np.asarray(counted - counted[0])


def gradient_steps(run: Run, steps: Steps) -> Array:
    """Of the critic, or of several critics together."""
    return run.total("charts/critic_updates", steps)


def training_hours(run: Run, steps: Steps) -> Array:
    """Time spent on iterations, with the evaluations in them: no pauses, and no iteration twice."""
    if run.has("time/iteration"):
        seconds = run.total("time/iteration", steps)
    elif run.has("time/total_rollout+update_time"):  # ManiSkill's: since the start, without evaluations
        seconds = run.latest("time/total_rollout+update_time", steps)
    else:  # CleanRL's: env steps since the start per second since the start
        known, rate = run.series("charts/SPS")
        known, rate = known[rate > 0], rate[rate > 0]
        # The rate is a whole number, so the time that it stands for may seem to run back.
        elapsed = np.maximum.accumulate(np.concatenate(([0.0], known / rate)))
        seconds = elapsed[np.searchsorted(known, steps, side="right")]
    return np.asarray(seconds / 3600)


AXES: dict[Axis, Reader] = {
    "iteration": iterations,
    "env_steps": env_steps,
    "sim_steps": sim_steps,
    "relative": relative_steps,
    "gradient_steps": gradient_steps,
    "training_hours": training_hours,
}
COSTS: dict[str, Reader] = {
    "env steps": env_steps,
    "simulator steps": sim_steps,
    "actor updates": lambda run, steps: run.total("charts/actor_updates", steps),
    "critic updates": gradient_steps,
    "training hours": training_hours,
}
