"""Draws success against env steps over seeds, and prints the table behind it.

    python docs/learning_curves.py docs/gae_ppo.png "gamma 0.8=lightning_logs/*-gamma0.8-*" "gamma 0.99=..."

Every directory that a pattern matches is one run. The line is the mean over seeds, the band the
95% bootstrap interval of that mean.
"""

import glob
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import bootstrap
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def scalars(run: str, name: str) -> dict[int, float]:
    """Values of a metric by step; a run that was continued has several versions, and the newest value counts."""
    found: dict[int, float] = {}
    for version in sorted(Path(run).glob("version_*"), key=lambda path: int(path.name.rsplit("_", 1)[1])):
        events = EventAccumulator(str(version), size_guidance={"scalars": 0})
        events.Reload()
        if name in events.Tags()["scalars"]:
            found |= {event.step: event.value for event in events.Scalars(name)}
    return dict(sorted(found.items()))


def success(run: str) -> tuple[np.ndarray, np.ndarray]:
    """Env steps and deterministic success of a run."""
    points = scalars(run, "eval/success_rate")
    return np.array(list(points)), np.array(list(points.values()))


def interval(values: np.ndarray) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", random_state=0).confidence_interval
    return float(found.low), float(found.high)


def main(picture: str, *labelled_patterns: str) -> None:
    """Draws and prints."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for labelled in labelled_patterns:
        label, pattern = labelled.split("=", 1)
        runs = [success(run) for run in sorted(glob.glob(pattern))]
        steps, rates = runs[0][0], np.stack([rate for _, rate in runs])  # [seeds, evaluations]
        low, high = np.array([interval(column) for column in rates.T]).T
        axes.plot(steps, 100 * rates.mean(0), label=f"{label} ({len(runs)} seeds)")
        axes.fill_between(steps, 100 * low, 100 * high, alpha=0.25)
        best = rates[:, 1:].max(1)
        print(f"\n{label}, {len(runs)} seeds\n")
        print("| iteration | env steps | mean success | 95% interval |\n|---:|---:|---:|---:|")
        for i, step in enumerate(steps):
            print(f"| {i} | {step:,} | {rates[:, i].mean():.1%} | {low[i]:.1%} - {high[i]:.1%} |")
        print(f"\nbest of the iterations per seed: {', '.join(f'{b:.1%}' for b in best)}; mean {best.mean():.1%}")
        print(f"last per seed: {', '.join(f'{b:.1%}' for b in rates[:, -1])}; mean {rates[:, -1].mean():.1%}")
    axes.set(xlabel="collected env steps", ylabel="deterministic success (%)", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
