"""`rlft compare`: which of several methods is better, as far as their TensorBoard logs tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

from rlft.commands.arguments import parse
from rlft.comparison import over_tasks_report as over_tasks
from rlft.comparison.axes import Axis
from rlft.comparison.comparison import Comparison, Question, compare_groups
from rlft.comparison.over_tasks import OverTasks, compare_over_tasks
from rlft.comparison.page import page
from rlft.comparison.report import as_csv, markdown
from rlft.comparison.run_groups import select, select_by_task
from rlft.comparison.runs import canonical
from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.files.folders import output_folder, typed_path
from rlft.runs.prose import is_rate
from rlft.runs.study_manifest import is_study

T = TypeVar("T")
RUNS = (
    "run folders, study folders, folders of either, patterns, or label=pattern; without labels, runs whose settings "
    "differ in the seed alone are one group, of other tools those whose names do"
)


def compare(
    runs: list[str],
    out: str | None = None,
    x: Axis = "env_steps",
    metric: str = "eval/success_rate",
    threshold: float | None = None,
    collapse: float | None = None,
    episodes: int | None = None,
) -> Comparison | OverTasks:
    """Compares groups of training runs and prints the tables; of a study with tasks, by itself, over all of them.

    Args:
        runs: see `RUNS`.
        out: directory for `comparison.md`, `.csv`, `.png` and `.html`.
        x: what curves are aligned by. `relative` is env steps since the first evaluation, for runs that begin at
            different counts; `training_hours` leaves out pauses.
        metric: what is compared, by rlft's name or the name in the logs.
        threshold: the metric's value whose first crossing is reported; by default 0.5 for success, for others none.
        collapse: how far below its own best a run has to fall to count as collapsed, if it stays there; by default 0.2
            for success, for others nothing counts.
        episodes: of an evaluation, for the intervals of single runs whose logs have none.

    Returns:
        All numbers.

    Raises:
        UserError: if something is no run, or has not logged what is asked for.
    """
    if episodes is not None and episodes < 1:
        raise UserError(f"--episodes is {episodes}; it must be at least 1.")
    if collapse is not None and collapse < 0:
        raise UserError(f"--collapse is {collapse:g}; it must not be negative.")
    metric = canonical(metric)
    for name, limit in (("threshold", threshold), ("collapse", collapse)):
        if limit is not None and limit > 1 and is_rate(metric):
            raise UserError(f"--{name} is {limit:g}; success is a share, so it must be at most 1.")
    limits = _limit(threshold, 0.5, metric), _limit(collapse, 0.2, metric)
    question = Question(metric, x, *limits, episodes=episodes or 0)
    study = typed_path(runs[0]) if len(runs) == 1 else None
    by_task, experts = select_by_task(study, metric) if study and is_study(study) else ({}, {})
    if not by_task:
        comparison = compare_groups(select(runs, metric), question)
        _tell(Report(markdown, as_csv, page, "draw"), comparison, out)
        return comparison
    found = compare_over_tasks(by_task, {task: _level(task, name, metric) for task, name in experts.items()}, question)
    _tell(Report(over_tasks.markdown, over_tasks.as_csv, over_tasks.page, "draw_over_tasks"), found, out)
    return found


def _level(task: str, expert: str, metric: str) -> float:
    """What the expert of a task reaches: a number, or the measured one of a policy."""
    if not expert:
        if is_rate(metric):
            return 1.0
        raise UserError(f"{metric} is no rate, so the study has to say what a score of 1 is: give it an expert.")
    with suppress(ValueError):
        return float(expert)
    from rlft.networks.policy_files import load_policy  # imports torch, which other comparisons do without

    measured = load_policy(expert).info.get("measured", {}).get("deterministic", {})
    name = metric.rpartition("/")[2]
    if name not in measured:
        raise UserError(
            f"The expert {expert} of task {task} says nothing of {name}; a number can take its place in the study."
        )
    return float(measured[name])


def _limit(given: float | None, of_success: float, metric: str) -> float:
    """What was given, else what is right for success; NaN for a metric on another scale."""
    if given is not None:
        return given
    return of_success if is_rate(metric) else math.nan


@dataclass(frozen=True)
class Report(Generic[T]):
    """How something is told."""

    markdown: Callable[[T, bool], str]
    csv: Callable[[T], str]
    page: Callable[[T], str]
    figure: str  # the name of the function that draws it


def _tell(report: Report[T], comparison: T, out: str | None) -> None:
    if out is None:
        print(report.markdown(comparison, False), end="")
    else:
        _write(report, comparison, output_folder(out, ".png", ".md", ".csv", ".html"))


def _write(report: Report[T], comparison: T, out: Path) -> None:
    """The four files, and the tables on the terminal."""
    for name in ("png", "md", "csv", "html"):
        if (out / f"comparison.{name}").is_dir():
            raise UserError(f"--out {out} holds a folder comparison.{name}; name another one.")
    has_figure = _draw(report.figure, comparison, out / "comparison.png")
    for name, text in (
        ("comparison.md", report.markdown(comparison, has_figure)),
        ("comparison.csv", report.csv(comparison)),
        ("comparison.html", report.page(comparison)),
    ):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
    print(report.markdown(comparison, False), end="")
    if not has_figure:
        print("\nThere is no comparison.png: matplotlib is missing, which pip install 'rlft[docs]' adds.")
    print(f"\nWritten to {out}.")


def _draw(name: str, comparison: object, path: Path) -> bool:
    """Whether there is a picture now."""
    try:
        figure = import_module("rlft.comparison.figure")
    except ImportError:  # matplotlib is an extra
        return False
    with replacing(path) as temporary:
        getattr(figure, name)(comparison, temporary)
    return True


def run(args: Sequence[str]) -> None:
    """Runs `rlft compare` with command-line arguments."""
    description = "Compares groups of training runs, with intervals over seeds."
    compare(**parse(compare, "rlft compare", description, args, several=("runs", RUNS)))
