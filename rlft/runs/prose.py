"""What reports say of a run, made from its records: a sentence, and a table of its iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlft.runs.behaviour import EVALUATED, MEASURE, failure_sentence, measures
from rlft.runs.iterations import ITERATION, Row
from rlft.runs.status import Status

COLUMNS = {  # metrics that stand in the table, and what they are called there
    "steps/env": "env steps",
    "steps/sim": "simulated steps",
    "eval/success_rate": "success",
    "eval/success_rate_low": "low",
    "eval/success_rate_high": "high",
    "eval/success_at_end": "at end",
    "eval/return": "return",
    "train/success_rate": "training success",
    "losses/explained_variance": "explained variance",
    "losses/validation_policy_loss": "validation policy loss",
    "losses/validation_value_loss": "validation value loss",
    "losses/validation_explained_variance": "validation explained variance",
    "charts/calibration_slope": "calibration slope",
    "charts/advantage_standard_error": "advantage error",
    "charts/advantage_reliability": "reliability",
    "probe/explained_variance": "probe explained variance",
    "probe/advantage_correlation": "probe advantage correlation",
    "losses/approx_kl": "KL",
    "losses/entropy": "entropy",
    "time/iteration": "seconds",
}
MOST_ROWS = 200  # of a table; of more, the first and the last half of these are shown


def is_rate(metric: str) -> bool:
    """Whether the values of a metric are shares, as its name says: `success_rate`, `success_at_end`, `is_success`."""
    return metric.rsplit("/", 1)[-1].startswith(("success", "is_success"))


def what_happened(status: Status, rows: Sequence[Row]) -> str:
    """How a run stands, and what became of its success rate."""
    return " ".join(filter(None, (_state(status), _progress(rows))))


def first_to_last(rows: Sequence[Row], metric: str) -> str:
    """A metric at its first and its last evaluation: `success 35.2% -> 25.8%`; nothing if it was never measured."""
    values = [row[metric] for row in rows if metric in row]
    name = metric.rsplit("/", 1)[-1]
    ends = (f"{value:.1%}" if is_rate(metric) else f"{value:,.4g}" for value in values[:1] + values[1:][-1:])
    return f"{name.removesuffix('_rate').replace('_', ' ')} {' -> '.join(ends)}" if values else ""


def iteration_table(rows: Sequence[Row]) -> list[str]:
    """Lines of a Markdown table with a row per iteration; nothing if there are none."""
    return _table(rows, COLUMNS)


def behaviour_table(rows: Sequence[Row]) -> list[str]:
    """What the policy did in evaluation episodes, as far as the task tells: a sentence, and a row per evaluation."""
    evaluated = [row for row in rows if measures(row)]
    if not evaluated:
        return []
    columns = {f"{EVALUATED}{MEASURE}{name}": name.replace("_", " ") for row in evaluated for name in measures(row)}
    sentence = failure_sentence(evaluated[-1])
    told = [f"The last policy: {sentence[0].lower()}{sentence[1:]}", ""] if sentence else []
    return [*told, *_table(evaluated, columns)]


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> list[str]:
    """Lines of a Markdown table of those of these metrics that there are."""
    if not rows:
        return []
    half = MOST_ROWS // 2
    first, last = (rows, []) if len(rows) <= MOST_ROWS else (rows[:half], rows[-half:])
    shown = [*first, *last]
    keys = [key for key in columns if any(key in row for row in shown)]
    lines = ["| iteration | " + " | ".join(columns[key] for key in keys) + " |", "|---:" * (len(keys) + 1) + "|"]
    lines += [f"| {row[ITERATION]} | " + " | ".join(_cell(row.get(key)) for key in keys) + " |" for row in shown]
    if last:
        left_out = f"{rows[half][ITERATION]:,} to {rows[-half - 1][ITERATION]:,}"
        lines += ["", f"Iterations {left_out} are left out here; `iterations.jsonl` has all of them."]
    return lines


def _state(status: Status) -> str:
    if status.state == "completed":
        return "Completed."
    if status.state == "ended early":
        return f"Ended early: {status.reason.removesuffix('.')}."
    return f"Running, or killed: last heard of at {status.heard}."  # what is killed cannot say so


def _progress(rows: Sequence[Row]) -> str:
    rates = {row[ITERATION]: row["eval/success_rate"] for row in rows if "eval/success_rate" in row}
    if not rates:
        return ""
    first, last, best = min(rates), max(rates), max(rates, key=rates.__getitem__)
    if first == last:
        return f"Deterministic success of the policy is {rates[first]:.1%}."
    return (
        f"Deterministic success went from {rates[first]:.1%} to {rates[last]:.1%} in "
        f"{rows[-1].get('steps/env', 0):,.0f} env steps; the best evaluation was {rates[best]:.1%} (iteration {best})."
    )


def _cell(value: float | None) -> str:
    if value is None or value != value:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
