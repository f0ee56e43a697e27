"""Groups of runs against each other: curves, final numbers, differences and costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from rlft.comparison.aggregate import difference, improvement, iqm, mean, over_seeds, sign_flip_p
from rlft.comparison.alignment import MOST_POINTS, Curve, align, curve, thinned
from rlft.comparison.axes import COSTS, Axis
from rlft.comparison.curve_summary import Summary, summarize
from rlft.comparison.run_groups import Selection
from rlft.comparison.runs import Array, Run
from rlft.errors import UserError
from rlft.runs.prose import is_rate
from rlft.statistics.rates import Estimate, newcombe, paired

SCORES = ("first", "last", "change", "last_fifth", "best", "area")  # numbers of a run that are averaged over seeds


@dataclass(frozen=True)
class Question:
    """What is compared, and against what.

    Attributes:
        metric: tag of the evaluations.
        axis: what curves are drawn against.
        threshold: value of the metric whose first crossing is reported; NaN for none.
        collapse: fall below the running best that is reported if it lasts; NaN for none.
        episodes: of an evaluation, where the logs do not tell; 0 if unknown.
    """

    metric: str
    axis: Axis
    threshold: float
    collapse: float
    episodes: int = 0

    @property
    def is_rate(self) -> bool:
        """Whether values are shares, to be shown in percent."""
        return is_rate(self.metric)

    @property
    def evaluation(self) -> str:
        """How the names of what is measured with the metric begin, as `eval/`."""
        return f"{self.metric.partition('/')[0]}/"


@dataclass(frozen=True)
class Point:
    """A point of the curve of an arm."""

    x: float
    mean: Estimate
    iqm: Estimate


@dataclass(frozen=True)
class Arm:
    """Runs that differ in the seed alone.

    Attributes:
        label: its name.
        curves: of its runs.
        summaries: of its runs.
        points: mean and IQM over seeds; of a single run its values with their Wilson intervals.
        means: of each of `SCORES` over seeds.
        iqms: likewise.
        costs: each of `COSTS`, averaged over runs; NaN if they are not logged.
        behaviour: what the policies of the last evaluations did, averaged over runs, by tag; of few tasks.
    """

    label: str
    curves: tuple[Curve, ...]
    summaries: tuple[Summary, ...]
    points: tuple[Point, ...]
    means: dict[str, Estimate]
    iqms: dict[str, Estimate]
    costs: dict[str, float]
    behaviour: dict[str, float]

    @property
    def seeds(self) -> list[int]:
        """Seeds of its runs; -1 where unknown."""
        return [curve.run.seed for curve in self.curves]

    def scores(self, name: str) -> Array:
        """One number of each run, `[S]`."""
        return np.array([getattr(summary, name) for summary in self.summaries])


@dataclass(frozen=True)
class Pair:
    """One arm against another, by the last evaluation of their runs.

    Attributes:
        first: label.
        second: label.
        difference: of the means, first less second.
        improvement: probability that a run of the first is above one of the second; NaN for single runs.
        p: of the paired test; NaN where neither seeds nor episodes can be paired.
        method: where the interval of the difference comes from.
    """

    first: str
    second: str
    difference: Estimate
    improvement: Estimate
    p: float
    method: str


@dataclass(frozen=True)
class Comparison:
    """Everything that the reports tell."""

    question: Question
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def compare_groups(selection: Selection, question: Question) -> Comparison:
    """Compares groups of runs.

    Raises:
        UserError: if a run has not logged what is asked for.
    """
    curves = {
        label: tuple(curve(run, question.metric, question.axis, question.episodes) for run in _by_seed(runs))
        for label, runs in selection.groups.items()
    }
    everything = list(itertools.chain(*curves.values()))
    shared = max(one.x[0] for one in everything), min(one.x[-1] for one in everything)
    arms = tuple(_arm(label, own, shared, question) for label, own in curves.items())
    pairs = tuple(_pair(first, second, question.metric) for first, second in itertools.combinations(arms, 2))
    return Comparison(question, arms, pairs, tuple(selection.notes))


def _by_seed(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.seed, run.name))


def _arm(label: str, curves: tuple[Curve, ...], shared: tuple[float, float], question: Question) -> Arm:
    summaries = tuple(summarize(one, *shared, question.threshold, question.collapse) for one in curves)
    scores = {name: np.array([getattr(summary, name) for summary in summaries]) for name in SCORES}
    means = {name: over_seeds(mean, values) for name, values in scores.items()}
    if len(curves) == 1:  # only here do the intervals tell of episodes instead of seeds
        (one,) = curves
        means["first"], means["last"] = _evaluation(one, 0), _evaluation(one, -1)
        if len(one.value) > 1:
            means["change"], _, _ = _between((one, -1), (one, 0), question.metric)
    return Arm(
        label=label,
        curves=curves,
        summaries=summaries,
        points=_points(curves),
        means=means,
        iqms={name: over_seeds(iqm, values) for name, values in scores.items()},
        costs={name: float(np.mean([_costs(one.run)[name] for one in curves])) for name in COSTS},
        behaviour=_behaviour([one.run.behaviour(question.evaluation) for one in curves]),
    )


def _behaviour(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over the runs that have logged it: older ones of the same settings have not."""
    tags = dict.fromkeys(tag for run in runs for tag in run)
    return {tag: float(np.mean([run[tag] for run in runs if tag in run])) for tag in tags}


def _points(curves: tuple[Curve, ...]) -> tuple[Point, ...]:
    if len(curves) == 1:
        (one,) = curves
        kept = thinned(np.arange(len(one.x)), MOST_POINTS).tolist()
        evaluations = [(float(one.x[i]), _evaluation(one, i)) for i in kept]
        return tuple(Point(x, evaluation, evaluation) for x, evaluation in evaluations)
    x, values = align(curves)  # [P], [S, P]
    return tuple(
        Point(float(at), over_seeds(mean, column), over_seeds(iqm, column))
        for at, column in zip(x, values.T, strict=True)
    )


def _evaluation(one: Curve, i: int) -> Estimate:
    return Estimate(float(one.value[i]), float(one.low[i]), float(one.high[i]))


def _costs(run: Run) -> dict[str, float]:
    """What a run cost in all; NaN where it has not logged that."""
    costs = dict.fromkeys(COSTS, math.nan)
    for name, reader in COSTS.items():
        with suppress(UserError):
            costs[name] = float(reader(run, run.end())[0])
    return costs


def _pair(first: Arm, second: Arm, metric: str) -> Pair:
    one, other = first.scores("last"), second.scores("last")
    if len(one) == len(other) == 1:
        return _pair_of_runs(first, second, metric)
    by_seed = first.seeds == second.seeds and len(set(first.seeds)) == len(first.seeds) > 1 and -1 not in first.seeds
    found, method = difference(one, other, by_seed), "paired seeds" if by_seed else "seeds"
    p = sign_flip_p(one - other) if by_seed else math.nan
    return Pair(first.label, second.label, found, improvement(one, other), p, method)


def _pair_of_runs(first: Arm, second: Arm, metric: str) -> Pair:
    """By their last evaluations; single runs have no probability of improvement."""
    found, p, method = _between((first.curves[0], -1), (second.curves[0], -1), metric)
    return Pair(first.label, second.label, found, Estimate(math.nan), p, method)


def _between(first: tuple[Curve, int], second: tuple[Curve, int], metric: str) -> tuple[Estimate, float, str]:
    """An evaluation, the i-th of a curve, less another one: the difference, its p, and where its interval comes from.

    By episodes, those from equal initial states together.
    """
    one, other = (curve.run.episodes_of(metric, i) for curve, i in (first, second))
    if one is not None and other is not None and one.starts == other.starts:
        result = paired(one.success, other.success)
        return result.difference, result.p, "paired episodes"
    return newcombe(_evaluation(*first), _evaluation(*second)), math.nan, "episodes"
