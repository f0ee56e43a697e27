"""A comparison of runs as tables of text, for Markdown and for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rlft.comparison.alignment import thinned
from rlft.comparison.axes import AXIS_NAMES, COSTS
from rlft.comparison.comparison import SCORES, Arm, Comparison, Question
from rlft.comparison.curve_summary import Summary
from rlft.runs.behaviour import measures
from rlft.statistics.rates import Estimate, p_text

MOST_ROWS = 25  # of the table of evaluations, besides the ends of arms


@dataclass(frozen=True)
class Table:
    """Cells with a heading; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(comparison: Comparison) -> list[Table]:
    """All tables that have rows."""
    found = [_arms(comparison), _pairs(comparison), _costs(comparison), _behaviour(comparison), _runs(comparison)]
    found.append(_evaluations(comparison))
    return [table for table in found if table.rows]


def title(question: Question) -> str:
    """What is compared."""
    return f"{question.metric} against {AXIS_NAMES[question.axis]}"


def legend_label(arm: Arm) -> str:
    """The label with the number of seeds."""
    return f"{arm.label} ({len(arm.curves)} seed{'s' if len(arm.curves) > 1 else ''})"


def x_text(question: Question, x: float) -> str:
    """A place on the axis."""
    if not math.isfinite(x):
        return "-"
    return f"{x:.3f}" if question.axis == "training_hours" else f"{x:,.0f}"


def shown(question: Question, number: float | Estimate, signed: bool = False) -> str:
    """A value of the metric, with its interval if it has one; `signed` a difference of two, of rates in points."""
    estimate = number if isinstance(number, Estimate) else Estimate(number)
    if not question.is_rate:
        return _interval(estimate, "{:+.4g}" if signed else "{:.4g}", "{:.4g}")
    return _interval(estimate, "{:+.1f}" if signed else "{:.1f}%", "{:.1f}", scale=100)


def _arms(comparison: Comparison) -> Table:
    question = comparison.question
    columns = (
        *("arm", "seeds", "first", "last, mean", "last, IQM", _change(question)),
        *("last 20%, mean", "best (biased upwards)", "area"),
        *_asked(question, f"{AXIS_NAMES[question.axis]} to {shown(question, question.threshold)}", "collapsed"),
    )
    rows = []
    for arm in comparison.arms:
        first, last, *others = (_score(question, name, arm.means[name]) for name in SCORES)
        cells = (first, last, shown(question, arm.iqms["last"]), *others)
        fallen = sum(math.isfinite(summary.collapsed) for summary in arm.summaries)
        seeds = len(arm.curves)
        asked = _asked(question, _reached(question, arm), f"{fallen} of {seeds}" if fallen else "0")
        rows.append((arm.label, str(seeds), *cells, *asked))
    return Table("Results", columns, tuple(rows))


def _change(question: Question) -> str:
    return "change (points)" if question.is_rate else "change"


def _score(question: Question, name: str, number: float | Estimate) -> str:
    return shown(question, number, signed=name == "change")


def _asked(question: Question, reached: str, collapsed: str) -> tuple[str, ...]:
    """The cells that depend on a threshold, as far as there is one."""
    asked = ((reached, question.threshold), (collapsed, question.collapse))
    return tuple(cell for cell, threshold in asked if not math.isnan(threshold))


def _reached(question: Question, arm: Arm) -> str:
    x = arm.scores("reached")
    count = f"({np.isfinite(x).sum()} of {len(x)})"
    middle = float(np.sort(x)[len(x) // 2])  # the upper median: reached by more than half, or not at all
    return f"{x_text(question, middle)} {count}" if math.isfinite(middle) else f"not reached {count}"


def _pairs(comparison: Comparison) -> Table:
    question = comparison.question
    columns = (
        "pair",
        "difference of the last" + (" (points)" if question.is_rate else ""),
        "interval over",
        "p",
        "P(first > second)",
    )
    rows = tuple(
        (
            f"{pair.first} - {pair.second}",
            shown(question, pair.difference, signed=True),
            "-" if math.isnan(pair.difference.low) else pair.method,
            p_text(pair.p),
            number(pair.improvement),
        )
        for pair in comparison.pairs
    )
    return Table("Differences", columns, rows)


def number(estimate: Estimate) -> str:
    """Of size 1, with its interval if it has one."""
    return _interval(estimate, "{:.2f}", "{:.2f}")


def cost_cells(costs: Mapping[str, float]) -> tuple[str, ...]:
    """Each of `COSTS`."""

    def text(name: str, value: float) -> str:
        return "-" if math.isnan(value) else f"{value:.2f}" if name == "training hours" else f"{value:,.0f}"

    return tuple(text(name, costs[name]) for name in COSTS)


def _costs(comparison: Comparison) -> Table:
    rows = tuple((arm.label, *cost_cells(arm.costs)) for arm in comparison.arms)
    return Table("Costs of a run, mean over seeds", ("arm", *COSTS), rows)


def _behaviour(comparison: Comparison) -> Table:
    """What policies do, of tasks that tell; the notes say it in words."""
    evaluation = comparison.question.evaluation
    told = {arm.label: measures(arm.behaviour, evaluation) for arm in comparison.arms}
    names = list(dict.fromkeys(name for found in told.values() for name in found))

    def cells(found: Mapping[str, float]) -> tuple[str, ...]:
        return tuple(f"{found[name]:.3g}" if name in found else "-" for name in names)

    rows = tuple((label, *cells(found)) for label, found in told.items()) if names else ()
    columns = ("arm", *(name.replace("_", " ") for name in names))
    return Table("What the policies of the last evaluations do, mean over seeds", columns, rows)


def _runs(comparison: Comparison) -> Table:
    question = comparison.question

    def cells(summary: Summary) -> tuple[str, ...]:
        scores = (_score(question, name, getattr(summary, name)) for name in SCORES)
        asked = _asked(question, x_text(question, summary.reached), x_text(question, summary.collapsed))
        return (*scores, *asked)

    rows = tuple(
        (arm.label, "-" if curve.run.seed < 0 else str(curve.run.seed), str(len(curve.x)), *cells(summary))
        for arm in comparison.arms
        for curve, summary in zip(arm.curves, arm.summaries, strict=True)
    )
    names = ("first", "last", _change(question), "last 20%", "best", "area")
    asked = _asked(question, f"to {shown(question, question.threshold)}", "collapsed at")
    return Table("Runs", ("arm", "seed", "evaluations", *names, *asked), rows)


def _evaluations(comparison: Comparison) -> Table:
    """Rows where some arm was evaluated; each arm has its latest point there, so that arms can be read across."""
    question, arms = comparison.question, comparison.arms
    x = thinned(np.unique([point.x for arm in arms for point in arm.points]), MOST_ROWS)
    places = sorted({*x.tolist(), *(arm.points[-1].x for arm in arms if arm.points)})
    rows = tuple((x_text(question, at), *(_at(question, arm, at) for arm in arms)) for at in places)
    columns = (AXIS_NAMES[question.axis], *(arm.label for arm in arms))
    return Table(f"{question.metric} by {AXIS_NAMES[question.axis]}, mean", columns, rows)


def _at(question: Question, arm: Arm, x: float) -> str:
    """The latest point at or before x; of several at one x, such as an offline run's by env steps, the last."""
    before = [point for point in arm.points if point.x <= x]
    return shown(question, before[-1].mean) if before and x <= arm.points[-1].x else ""


def _interval(estimate: Estimate, value_format: str, bound_format: str, scale: int = 1) -> str:
    if math.isnan(estimate.value):
        return "-"
    value = value_format.format(scale * estimate.value)
    if math.isnan(estimate.low):
        return value
    low, high = (bound_format.format(scale * bound) for bound in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
