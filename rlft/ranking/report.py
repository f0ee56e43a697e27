"""What a ranking study found, as a table in the terminal, in markdown and in json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from rlft.ranking.ranking import Ranking, Score
from rlft.statistics.correlations import Interval

COLUMNS = (
    *("protocol", "estimator", "M", "states", "rho", "95%", "rho of all", "rho reliable"),
    *("tau-b", "top-1", "pairs", "r", "r corrected", "pooled rho"),
)
SHOWN = ("estimator", "M", "rho", "95%", "rho reliable", "r")  # in a terminal
LEGEND = (
    "Within states: rho Spearman with its bootstrap interval over states, in the states whose actions are not all "
    "worth the same (in all of them, with 0 for those; in those with a reliable ground truth), tau-b Kendall, top-1 "
    "how often the best action is found, pairs the share in the right order, r Pearson, corrected for the noise of the "
    "ground truth. M trajectories per action; networks see none. Pooled rho says how states are ranked, not actions."
)


def rich_table(ranking: Ranking, protocol: str, title: str) -> Table:
    """The main columns, for the rows that use the most trajectories and the networks."""
    table = Table(title=f"{title}, {protocol} ground truth")
    shown = [COLUMNS.index(name) for name in SHOWN]
    for name in SHOWN:
        table.add_column(name, justify="left" if name == "estimator" else "right", no_wrap=name != "rho reliable")
    for score in best_supplied(ranking):
        if score.protocol == protocol:
            cells = _cells(score)
            table.add_row(*(cells[i] for i in shown))
    return table


def best_supplied(ranking: Ranking) -> list[Score]:
    """Of each estimator and protocol the score with the most trajectories."""
    most: dict[tuple[str, str], Score] = {}
    for score in ranking.scores:
        known = most.setdefault((score.protocol, score.estimator), score)
        if score.trajectories > known.trajectories:
            most[score.protocol, score.estimator] = score
    return list(most.values())


def summary(ranking: Ranking) -> list[str]:
    """Sentences about the ground truth, the critics and the variance of Q."""
    truth, raw, corrected = ranking.truth, ranking.raw, ranking.corrected
    lines = [
        f"Ground truth: halves agree with rho {truth.half_spearman:.2f} and r {truth.half_pearson:.2f} within states, "
        f"reliability {truth.reliability:.2f}. Except by chance no estimator's r exceeds {truth.ceiling:.2f}, nor its "
        f"rho about {truth.rho_ceiling:.2f}.",
        f"It is reliable in {ranking.reliable_states} states, where more of its variance among actions is signal than "
        f"noise: halves agree with rho {_number(ranking.reliable_halves)} there, too high as these samples chose them.",
        f"Variance of Q between states {raw.between:.5f}, within {raw.within:.5f}, ratio {_number(raw.ratio)}; without "
        f"sampling noise {corrected.between:.5f}, {corrected.within:.5f}, {_number(corrected.ratio)}.",
    ]
    for critic in ranking.critics:
        lines.append(
            f"{critic.critic}: across states rho {_with_interval(critic.spearman)}, r {_with_interval(critic.pearson)}."
        )
    return lines


def markdown(ranking: Ranking, title: str, cost: str, has_figure: bool) -> str:
    """The whole report."""
    parts = [f"# {title}", *summary(ranking), cost]
    if has_figure:
        parts.append("![Correlation within states against trajectories](ranking.png)")
    parts.append(_markdown_table(COLUMNS, [_cells(score) for score in best_supplied(ranking)]))
    parts.append(LEGEND)
    counts = sorted({score.trajectories for score in ranking.scores if score.trajectories})
    names = dict.fromkeys((s.protocol, s.estimator) for s in ranking.scores if s.trajectories)
    rho = {(s.protocol, s.estimator, s.trajectories): s.within.spearman for s in ranking.scores}
    rows = [
        (*name, *(_with_interval(rho[*name, count]) if (*name, count) in rho else "" for count in counts))
        for name in names
    ]
    if rows:
        parts.append("Rho within states by the number of trajectories:")
        parts.append(_markdown_table(("protocol", "estimator", *map(str, counts)), rows))
    return "\n\n".join(parts) + "\n"


def as_json(ranking: Ranking, settings: Mapping[str, Any], sim_steps: Mapping[str, int]) -> str:
    """All numbers; what is not defined is null."""
    content = {"settings": dict(settings), "sim_steps": dict(sim_steps), **asdict(ranking)}
    return json.dumps(_without_nan(content), indent=2) + "\n"


def _cells(score: Score) -> tuple[str, ...]:
    within = score.within
    return (
        score.protocol,
        score.estimator,
        str(score.trajectories or "-"),
        str(within.states),
        f"{within.spearman.value:.3f}",
        f"{within.spearman.low:.3f} to {within.spearman.high:.3f}",
        f"{within.spearman_all:.3f}",
        _number(score.reliable.value),
        f"{within.kendall.value:.3f}",
        f"{within.top1.value:.1%}",
        f"{within.concordance.value:.1%}",
        f"{within.pearson.value:.3f}",
        _number(score.corrected),
        f"{score.pooled:.3f}",
    )


def _with_interval(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _markdown_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, ("---", "---", *["---:"] * (len(columns) - 2)), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
