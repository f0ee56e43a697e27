"""A picture of a ranking study: correlation within states, by estimator and number of trajectories."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from rlft.ranking.ranking import INDEPENDENT, Ranking, Score
from rlft.ranking.report import best_supplied


def draw(ranking: Ranking, title: str, path: Path) -> None:
    """Left: against the number of trajectories, with independent ground truth. Right: everything, in both protocols."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(1, 1.2))
    _against_trajectories(left, [s for s in ranking.scores if s.protocol == INDEPENDENT and s.trajectories])
    left.axhline(ranking.truth.rho_ceiling, color="black", linestyle=":", label="ceiling, from halves of the truth")
    left.legend(fontsize=8)
    _bars(right, best_supplied(ranking))
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=150, format="png")
    plt.close(figure)


def _against_trajectories(axes: Axes, scores: list[Score]) -> None:
    for name in dict.fromkeys(score.estimator for score in scores):
        own = [score for score in scores if score.estimator == name]
        counts = [score.trajectories for score in own]
        rho = [score.within.spearman for score in own]
        axes.plot(counts, [r.value for r in rho], marker="o", label=name)
        axes.fill_between(counts, [r.low for r in rho], [r.high for r in rho], alpha=0.15)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts := sorted({score.trajectories for score in scores}), [str(count) for count in counts])
    axes.set(xlabel="trajectories per action", ylabel="Spearman's rho within states, independent ground truth")
    axes.grid(alpha=0.3)


def _bars(axes: Axes, scores: list[Score]) -> None:
    names = list(dict.fromkeys(score.estimator for score in scores))
    protocols = list(dict.fromkeys(score.protocol for score in scores))
    height = 0.8 / len(protocols)
    for number, protocol in enumerate(protocols):
        own = [score for score in scores if score.protocol == protocol]
        where = [names.index(score.estimator) + number * height for score in own]
        rho = [score.within.spearman for score in own]
        errors = [[r.value - r.low for r in rho], [r.high - r.value for r in rho]]
        axes.barh(where, [r.value for r in rho], height, xerr=errors, label=f"{protocol} ground truth")
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(names))], names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="Spearman's rho within states, at the most trajectories")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(fontsize=8)
