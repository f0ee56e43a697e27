"""Prints what each method reached and what it cost, one row per method.

    python docs/method_table.py "AWR, 16 re-rollouts of the expert|yes=lightning_logs/*_awr-k16-bypickcube_expert-*" ...

Every directory that a pattern matches is one run; `|yes` says that the method used an oracle.
Intervals are 95%: bootstrap intervals of the mean over seeds, or, of a single run, the Wilson interval of its episodes.
"""

import glob
import sys
from dataclasses import dataclass

import numpy as np
from learning_curves import interval, scalars


@dataclass
class Run:
    """Numbers of one run."""

    rates: list[float]  # deterministic success, the start policy first
    bounds: list[tuple[float, float]]  # Wilson intervals
    env_steps: float
    sim_steps: float
    minutes: float


def read(folder: str) -> Run:
    """One run, also if it was continued."""

    def values(name: str) -> list[float]:
        return list(scalars(folder, name).values())

    rates, low, high = (values(f"eval/success_rate{end}") for end in ("", "_low", "_high"))
    seconds = sum(values("time/iteration")) + values("time/eval")[0]
    bounds = list(zip(low, high, strict=True))
    return Run(rates, bounds, values("steps/env")[-1], values("steps/sim")[-1], seconds / 60)


def shown(rates: list[float], bounds: list[tuple[float, float]]) -> str:
    """A mean and its interval."""
    low, high = interval(np.array(rates)) if len(rates) > 1 else bounds[0]
    return f"{np.mean(rates):.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def main(*labelled_patterns: str) -> None:
    """Prints the table."""
    print("| method | oracle | seeds | env steps | simulator steps | minutes | last | best of the evaluations |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for labelled in labelled_patterns:
        label, pattern = labelled.rsplit("=", 1)
        method, _, oracle = label.partition("|")
        runs = [read(folder) for folder in sorted(glob.glob(pattern))]
        best = [int(np.argmax(run.rates[1:])) + 1 for run in runs]
        costs = (np.mean([getattr(run, name) for run in runs]) for name in ("env_steps", "sim_steps", "minutes"))
        env_steps, sim_steps, minutes = costs
        last = shown([run.rates[-1] for run in runs], [run.bounds[-1] for run in runs])
        peak = shown(
            [run.rates[i] for run, i in zip(runs, best, strict=True)],
            [run.bounds[i] for run, i in zip(runs, best, strict=True)],
        )
        cells = [
            method,
            oracle or "no",
            len(runs),
            f"{env_steps:,.0f}",
            f"{sim_steps:,.0f}",
            f"{minutes:.1f}",
            last,
            peak,
        ]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
