"""Methods over several tasks: normalised scores, which of two is better, what they cost.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2108.13264. A score
is the last evaluation of a run, with 0 for the start policy and 1 for the expert of the task.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlft.comparison.aggregate import improvement_over_tasks, iqm, mean, over_tasks
from rlft.comparison.axes import COSTS
from rlft.comparison.comparison import Comparison, Question, compare_groups
from rlft.comparison.notes import FEW_SEEDS
from rlft.comparison.run_groups import Selection
from rlft.comparison.runs import Array
from rlft.errors import UserError
from rlft.statistics.rates import Estimate


@dataclass(frozen=True)
class Task:
    """A task and what has been made of it.

    Attributes:
        name: in the study.
        start: first evaluation, averaged over the runs that begin with a policy, over all if none does; a score of 0.
        expert: what the expert reaches; a score of 1.
        comparison: of the methods in this task.
    """

    name: str
    start: float
    expert: float
    comparison: Comparison

    def scores(self, label: str) -> Array:
        """Of the runs of a method, `[S]`."""
        arm = next(arm for arm in self.comparison.arms if arm.label == label)
        return (arm.scores("last") - self.start) / (self.expert - self.start)


@dataclass(frozen=True)
class Method:
    """A method that has been run in every task.

    Attributes:
        label: its name.
        scores: of its runs, `[S]` of each task.
        iqm: interquartile mean over all its runs.
        mean: likewise.
        rank: by its mean score in a task, from 1, averaged over tasks; equal scores share their ranks.
        costs: of a run, averaged over tasks; NaN if they are not logged.
    """

    label: str
    scores: tuple[Array, ...]
    iqm: Estimate
    mean: Estimate
    rank: float
    costs: dict[str, float]

    def above(self, score: float) -> float:
        """Share of its runs that are above a score, averaged over tasks."""
        return float(np.mean([(own > score).mean() for own in self.scores]))

    def profile(self, low: float, high: float) -> tuple[list[float], list[float]]:
        """Its performance profile from one score to another: the corners of its steps, scores and shares above them."""
        falls = np.unique(np.concatenate(self.scores))
        inside = [float(score) for score in falls if low < score < high]
        shares = [self.above(score) for score in (low, *inside)]
        return [low, *np.repeat(inside, 2).tolist(), high], np.repeat(shares, 2).tolist()


@dataclass(frozen=True)
class OverTasks:
    """Everything that the report tells.

    Attributes:
        question: of every task.
        tasks: in their order.
        methods: best first.
        better: of two methods, the probability that a run of the first is above one of the second.
        notes: what has been left out.
    """

    question: Question
    tasks: tuple[Task, ...]
    methods: tuple[Method, ...]
    better: Mapping[tuple[str, str], Estimate]
    notes: tuple[str, ...]

    @property
    def range(self) -> tuple[float, float]:
        """From the lowest score or 0 to the highest or 1, in whole tenths."""
        scores = [score for method in self.methods for own in method.scores for score in own.tolist()]
        return math.floor(min(0.0, *scores) * 10) / 10, math.ceil(max(1.0, *scores) * 10) / 10


def compare_over_tasks(
    selections: Mapping[str, Selection], experts: Mapping[str, float], question: Question
) -> OverTasks:
    """Compares methods over tasks.

    Args:
        selections: runs by method, of each task.
        experts: what a score of 1 is, of each task.
        question: what is compared.

    Raises:
        UserError: if no method has a run in every task, a run has not logged what is asked for, or an expert is no
            better than the start policy.
    """
    empty = [name for name, selection in selections.items() if not selection.groups]
    if empty:
        raise UserError(f"No run of task {empty[0]} is completed; `rlft study` makes those that are missing.")
    tasks = tuple(_task(name, selection, experts[name], question) for name, selection in selections.items())
    labels = list(dict.fromkeys(label for selection in selections.values() for label in selection.groups))
    lacking = {label: [name for name, own in selections.items() if label not in own.groups] for label in labels}
    everywhere = [label for label in labels if not lacking[label]]
    if not everywhere:
        raise UserError("No method has a completed run in every task; `rlft study` makes those that are missing.")
    notes = [f"{name}: {line}" for name, own in selections.items() for line in own.notes]
    notes += [
        f"{label} has no score, for it has no run of {', '.join(names)}." for label, names in lacking.items() if names
    ]
    methods = sorted(_methods(everywhere, tasks), key=lambda method: -method.iqm.value)
    better = {
        (one.label, other.label): improvement_over_tasks(one.scores, other.scores)
        for one, other in itertools.permutations(methods, 2)
    }
    return OverTasks(question, tasks, tuple(methods), better, (*notes, *_seeds(methods)))


def _task(name: str, selection: Selection, expert: float, question: Question) -> Task:
    comparison = compare_groups(selection, question)
    start = _start(comparison)
    if not expert > start:
        raise UserError(
            f"The expert of task {name} has {expert:.4g} and the start policy {start:.4g}; a score needs a better one."
        )
    return Task(name, start, expert, comparison)


def _start(comparison: Comparison) -> float:
    """Where the start policy is; a method that begins with a new one, such as cloning, does not begin there."""
    curves = [curve for arm in comparison.arms for curve in arm.curves]
    begun = [curve for curve in curves if curve.run.settings.get("model.policy")]
    return float(np.mean([curve.value[0] for curve in begun or curves]))


def _methods(labels: Sequence[str], tasks: Sequence[Task]) -> list[Method]:
    scores = {label: tuple(task.scores(label) for task in tasks) for label in labels}
    means = np.array([[own.mean() for own in scores[label]] for label in labels])  # [M, T]
    ranks = _ranks(means).mean(1)
    return [
        Method(
            label,
            scores[label],
            over_tasks(iqm, scores[label]),
            over_tasks(mean, scores[label]),
            rank,
            _costs(label, tasks),
        )
        for label, rank in zip(labels, ranks.tolist(), strict=True)
    ]


def _seeds(methods: Sequence[Method]) -> list[str]:
    """What their number does to scores and intervals."""
    runs = {method.label: [len(own) for own in method.scores] for method in methods}
    notes = [
        f"{label} has {', '.join(map(str, own))} runs in the tasks; those with more count more in its IQM and mean."
        for label, own in runs.items()
        if len(set(own)) > 1
    ]
    if few := [label for label, own in runs.items() if any(1 < number < FEW_SEEDS for number in own)]:
        notes.append(f"Fewer than {FEW_SEEDS} seeds in a task, so the intervals are too narrow: {', '.join(few)}.")
    return notes


def _ranks(means: Array) -> Array:
    """From 1, the best, in every column of `[M, T]`."""
    above = (means[None] > means[:, None]).sum(1)
    equal = (means[None] == means[:, None]).sum(1)
    return np.asarray(above + (equal + 1) / 2)


def _costs(label: str, tasks: Sequence[Task]) -> dict[str, float]:
    arms = [arm for task in tasks for arm in task.comparison.arms if arm.label == label]
    return {name: float(np.mean([arm.costs[name] for arm in arms])) for name in COSTS}
