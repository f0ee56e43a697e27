"""A comparison over tasks as Markdown, as CSV, and as one HTML page that needs nothing else."""

from __future__ import annotations

import csv
import io
from html import escape

from rlft.comparison.axes import COSTS
from rlft.comparison.comparison import Comparison
from rlft.comparison.over_tasks import OverTasks, Task
from rlft.comparison.page import in_html, legend, whole_page
from rlft.comparison.report import in_markdown, notes_in_markdown
from rlft.comparison.svg import profiles, svg
from rlft.comparison.tables import Table, cost_cells, legend_label, number, shown, tables

DEFINITIONS = (
    "A score is the last evaluation of a run, with 0 for the start policy and 1 for the expert of the task.",
    "IQM: mean of the scores of all runs without the lowest and the highest quarter. Intervals are 95%, percentiles of "
    "a bootstrap that draws the seeds of every task by themselves; they say nothing of other tasks. Where a method has "
    "one seed in a task, the interval of its evaluation there is Wilson's, of the episodes, and says nothing of other "
    "seeds.",
    "P(row > column): probability that a run of the row is above one of the column in the same task, ties counting "
    "half, averaged over tasks.",
    "Rank: by the mean score in a task, 1 is best, averaged over tasks. Costs: of a run, averaged over tasks.",
)


def over_tasks_tables(found: OverTasks) -> list[Table]:
    """What is said over all tasks, and the last evaluation in each of them."""
    return [_scores(found), _better(found), _last(found)]


def markdown(found: OverTasks, has_figure: bool = False) -> str:
    """The whole report."""
    parts = [f"# {heading(found)}", *(["![Scores](comparison.png)"] if has_figure else [])]
    parts += [in_markdown(table) for table in over_tasks_tables(found)]
    for task in found.tasks:
        parts += [f"## {task.name}", *(in_markdown(table, "###") for table in _of_task(task.comparison))]
    parts.append(notes_in_markdown([*found.notes, *DEFINITIONS]))
    return "\n\n".join(parts) + "\n"


def page(found: OverTasks) -> str:
    """The page."""
    content = [profiles(found), legend([method.label for method in found.methods])]
    content += [in_html(table) for table in over_tasks_tables(found)]
    for task in found.tasks:
        arms = ", ".join(legend_label(arm) for arm in task.comparison.arms)
        content += [f"<h2>{escape(task.name)}</h2>", svg(task.comparison, of=task.name), f"<p>{escape(arms)}</p>"]
        content += [in_html(table) for table in _of_task(task.comparison)]
    return whole_page(heading(found), content, [*found.notes, *DEFINITIONS])


def as_csv(found: OverTasks) -> str:
    """Every run at full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["task", "method", "run", "seed", "start", "expert", "last", "score"])
    for task in found.tasks:
        for arm in task.comparison.arms:
            for curve, last, score in zip(arm.curves, arm.scores("last"), task.scores(arm.label), strict=True):
                numbers = [repr(float(value)) for value in (task.start, task.expert, last, score)]
                writer.writerow([task.name, arm.label, curve.run.name, curve.run.seed, *numbers])
    return out.getvalue()


def heading(found: OverTasks) -> str:
    """What is compared."""
    return f"{found.question.metric} over {len(found.tasks)} tasks"


def _of_task(comparison: Comparison) -> list[Table]:
    return [table for table in tables(comparison) if table.title.startswith(("Results", "Costs"))]


def _scores(found: OverTasks) -> Table:
    rows = tuple(
        (
            method.label,
            str(sum(map(len, method.scores))),
            number(method.iqm),
            number(method.mean),
            f"{method.rank:.2f}",
            *cost_cells(method.costs),
        )
        for method in found.methods
    )
    return Table("Normalised scores", ("method", "runs", "IQM", "mean", "rank", *COSTS), rows)


def _better(found: OverTasks) -> Table:
    labels = [method.label for method in found.methods]
    rows = tuple(
        (one, *("" if one == other else number(found.better[one, other]) for other in labels)) for one in labels
    )
    return Table("P(row > column)", ("method", *labels), rows if len(labels) > 1 else ())


def _last(found: OverTasks) -> Table:
    question = found.question

    def cell(task: Task, label: str) -> str:
        return next((shown(question, arm.means["last"]) for arm in task.comparison.arms if arm.label == label), "-")

    labels = [method.label for method in found.methods]
    others = dict.fromkeys(arm.label for task in found.tasks for arm in task.comparison.arms if arm.label not in labels)
    rows = [(label, *(cell(task, label) for task in found.tasks)) for label in (*labels, *others)]
    rows.append(("start", *(shown(question, task.start) for task in found.tasks)))
    rows.append(("expert", *(shown(question, task.expert) for task in found.tasks)))
    return Table("Last evaluation, mean over seeds", ("method", *(task.name for task in found.tasks)), tuple(rows))
