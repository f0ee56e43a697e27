"""A picture of a comparison: the mean of every arm with its interval."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from rlft.comparison.axes import AXIS_NAMES
from rlft.comparison.comparison import Comparison
from rlft.comparison.over_tasks import OverTasks
from rlft.comparison.tables import legend_label

LINES = ("-", "--", ":")  # there are ten colours


def draw(comparison: Comparison, path: Path) -> None:
    """Draws the curves of all arms, with the legend below, where it hides nothing."""
    question, arms = comparison.question, comparison.arms
    rows = (len(arms) + 1) // 2 if _short(comparison) else len(arms)
    figure, axes = plt.subplots(figsize=(9, 4.8 + 0.24 * rows), layout="constrained")
    scale = 100 if question.is_rate else 1
    lines = []
    for i, arm in enumerate(arms):
        x = [point.x for point in arm.points]
        means = [point.mean for point in arm.points]
        colour, line = f"C{i % 10}", LINES[i // 10 % len(LINES)]
        values = [scale * mean.value for mean in means]
        lines += axes.plot(x, values, line, color=colour, marker="o" if len(x) <= 30 else "", markersize=3)
        low, high = [scale * mean.low for mean in means], [scale * mean.high for mean in means]
        axes.fill_between(x, low, high, color=colour, alpha=0.18 if len(arms) <= 4 else 0.1, linewidth=0)
    name = question.metric + (" (%)" if question.is_rate else "")
    axes.set(xlabel=AXIS_NAMES[question.axis], ylabel=name)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda x, _: f"{x:,g}"))
    if question.is_rate:
        axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    labels = [legend_label(arm) for arm in arms]
    columns = 2 if _short(comparison) else 1
    legend = figure.legend(lines, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar is a dollar
    figure.savefig(path, dpi=150, format="png")
    plt.close(figure)


def draw_over_tasks(found: OverTasks, path: Path) -> None:
    """Draws interquartile means with their intervals, and performance profiles."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 1.6 + 0.5 * max(6, len(found.methods))), layout="constrained"
    )
    labels = [method.label for method in found.methods]
    for i, method in enumerate(found.methods):
        line, estimate = LINES[i // 10 % len(LINES)], method.iqm
        left.barh(i, estimate.value, color=f"C{i % 10}", alpha=0.7)
        left.plot([estimate.low, estimate.high], [i, i], color="black", linewidth=1.5)
        scores, shares = method.profile(*found.range)
        right.plot(scores, [100 * share for share in shares], line, color=f"C{i % 10}")
    left.set_yticks(range(len(labels)), labels, parse_math=False)
    left.invert_yaxis()
    left.set(xlabel="normalised score, IQM and 95% interval")
    right.set(xlabel="normalised score", ylabel="runs above it (%)", ylim=(0, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150, format="png")
    plt.close(figure)


def _short(comparison: Comparison) -> bool:
    """Whether two labels fit beside each other."""
    return len(comparison.arms) > 1 and max(len(legend_label(arm)) for arm in comparison.arms) < 55
