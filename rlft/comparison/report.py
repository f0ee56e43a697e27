"""A comparison of runs as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from rlft.comparison.alignment import Curve
from rlft.comparison.comparison import SCORES, Arm, Comparison
from rlft.comparison.curve_summary import Summary
from rlft.comparison.notes import notes
from rlft.comparison.tables import Table, tables, title
from rlft.comparison.verdict import verdict
from rlft.statistics.rates import Estimate


def markdown(comparison: Comparison, has_figure: bool = False) -> str:
    """The whole report."""
    parts = [f"# {title(comparison.question)}"]
    if has_figure:
        parts.append("![Curves](comparison.png)")
    parts[1:1] = map(_escaped, verdict(comparison))
    parts += [in_markdown(table) for table in tables(comparison)]
    parts.append(notes_in_markdown(notes(comparison)))
    return "\n\n".join(parts) + "\n"


def in_markdown(table: Table, level: str = "##") -> str:
    """A table under its title."""
    lines = [table.columns, ("---", *["---:"] * (len(table.columns) - 1)), *table.rows]
    cells = "\n".join("| " + " | ".join(map(_escaped, row)) + " |" for row in lines)
    return f"{level} {table.title}\n\n{cells}"


def notes_in_markdown(lines: Iterable[str]) -> str:
    """What has to be known, under its title."""
    return "## Notes\n\n" + "\n".join(f"- {_escaped(line)}" for line in lines)


def _escaped(text: str) -> str:
    """What Markdown would take for something else, in labels that may be anything."""
    return re.sub(r"([|`*]|<(?=[a-zA-Z/!]))", r"\\\1", " ".join(text.split()))


def as_csv(comparison: Comparison) -> str:
    """Every number at full precision, also the evaluations of every run, which tables and pictures thin out.

    `quantity` is `evaluation` for the points of curves; `run` is empty for what several seeds say together. Of a pair
    of arms, `arm` is `first - second`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = ("", "_low", "_high")
    numbers = [f"{of}{end}" for of in ("mean", "iqm") for end in ends]
    writer.writerow(["arm", "run", "quantity", comparison.question.axis, "seeds", *numbers])
    for arm in comparison.arms:
        of_runs = map(_of_run, arm.curves, arm.summaries, itertools.repeat(comparison.question.evaluation))
        for run, quantity, x, mean, iqm in [*_of_arm(arm), *itertools.chain(*of_runs)]:
            seeds = 1 if run else len(arm.curves)
            writer.writerow([arm.label, run, quantity, _number(x), seeds, *_numbers(mean), *_numbers(iqm)])
    for pair in comparison.pairs:
        found = {
            f"difference of the last, interval over {pair.method}": pair.difference,
            "P(first > second)": pair.improvement,
            "p": Estimate(pair.p),
        }
        for quantity, value in found.items():
            writer.writerow([f"{pair.first} - {pair.second}", "", quantity, "", "", *_numbers(value), "", "", ""])
    return out.getvalue()


Row = tuple[str, str, float, Estimate, Estimate]  # run, quantity, x, mean, IQM


def _of_arm(arm: Arm) -> Iterator[Row]:
    for point in arm.points if len(arm.curves) > 1 else ():
        yield "", "evaluation", point.x, point.mean, point.iqm
    for name in SCORES:
        yield "", name, math.nan, arm.means[name], arm.iqms[name]
    for name, cost in arm.costs.items():
        yield "", name, math.nan, Estimate(cost), Estimate(math.nan)
    for tag, value in arm.behaviour.items():
        yield "", tag, math.nan, Estimate(value), Estimate(math.nan)


def _of_run(curve: Curve, summary: Summary, evaluation: str) -> Iterator[Row]:
    name = curve.run.name
    for x, *value in zip(curve.x, curve.value, curve.low, curve.high, strict=True):
        yield name, "evaluation", float(x), Estimate(*map(float, value)), Estimate(math.nan)
    for quantity, number in {**asdict(summary), **curve.run.behaviour(evaluation)}.items():
        yield name, quantity, math.nan, Estimate(number), Estimate(math.nan)


def _numbers(estimate: Estimate) -> list[str]:
    return [_number(number) for number in (estimate.value, estimate.low, estimate.high)]


def _number(number: float) -> str:
    """Nothing where there is none: NaN, and a threshold that was never reached."""
    return repr(number) if math.isfinite(number) else ""
