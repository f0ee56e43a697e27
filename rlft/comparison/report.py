"""A comparison of runs as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import math

from rlft.comparison.comparison import SCORES, Comparison
from rlft.comparison.notes import notes
from rlft.comparison.tables import tables, title


def markdown(comparison: Comparison, has_figure: bool = False) -> str:
    """The whole report."""
    parts = [f"# {title(comparison.question)}"]
    if has_figure:
        parts.append("![Curves](comparison.png)")
    for table in tables(comparison):
        lines = [table.columns, ("---", *["---:"] * (len(table.columns) - 1)), *table.rows]
        cells = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)
        parts.append(f"## {table.title}\n\n{cells}")
    parts.append("## Notes\n\n" + "\n".join(f"- {line}" for line in notes(comparison)))
    return "\n\n".join(parts) + "\n"


def as_csv(comparison: Comparison) -> str:
    """Every aggregated number at full precision; `quantity` is `evaluation` for the points of curves."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ends = ("", "_low", "_high")
    writer.writerow(
        [
            "arm",
            "quantity",
            comparison.question.axis,
            "seeds",
            *(f"{of}{end}" for of in ("mean", "iqm") for end in ends),
        ]
    )
    for arm in comparison.arms:
        rows = [("evaluation", repr(point.x), point.mean, point.iqm) for point in arm.points]
        rows += [(name, "", arm.means[name], arm.iqms[name]) for name in SCORES]
        for quantity, x, mean, iqm in rows:
            numbers = (mean.value, mean.low, mean.high, iqm.value, iqm.low, iqm.high)
            cells = ("" if math.isnan(number) else repr(number) for number in numbers)
            writer.writerow([arm.label, quantity, x, len(arm.curves), *cells])
    return out.getvalue()
