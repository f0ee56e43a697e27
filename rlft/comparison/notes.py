"""What has to be known to read a comparison: which intervals, which definitions, what was left out."""

from __future__ import annotations

import math

from rlft.comparison.aggregate import RESAMPLES
from rlft.comparison.axes import AXIS_NAMES
from rlft.comparison.comparison import Arm, Comparison, Pair, Question
from rlft.comparison.curve_summary import LASTING
from rlft.comparison.tables import MOST_ROWS, shown, x_text
from rlft.runs.behaviour import failure_sentence

FEW_SEEDS = 5


def notes(comparison: Comparison) -> list[str]:
    """Sentences, one or a few a line."""
    lines = [
        *comparison.notes,
        *_behaviour(comparison),
        *_fixed_data(comparison),
        *_no_stretch(comparison),
        *_thinned(comparison),
        *_continued(comparison),
        *_intervals(comparison.arms),
        _definitions(comparison.question),
    ]
    lines += _differences(comparison.pairs)
    lines.append(
        "Between evaluations a run counts with its latest one, nothing is interpolated but in the area; the curve of "
        "an arm ends where its shortest run ends."
    )
    return lines


def _behaviour(comparison: Comparison) -> list[str]:
    """What the policies of an arm do where they fail, as far as the task tells."""
    told = {arm.label: failure_sentence(arm.behaviour, comparison.question.evaluation) for arm in comparison.arms}
    return [f"{label}, last evaluation: {sentence}" for label, sentence in told.items() if sentence]


def _differences(pairs: tuple[Pair, ...]) -> list[str]:
    """What the table of differences shows."""
    methods = {pair.method for pair in pairs if not math.isnan(pair.difference.low)}
    lines = ["Differences are those of the last evaluations."] if pairs else []
    if any(not math.isnan(pair.improvement.value) for pair in pairs):
        lines.append(
            "P(first > second): probability that a run of the first is above one of the second, ties counting half."
        )
    if "paired seeds" in methods:
        lines.append(
            "Paired seeds: p is of the exact test by flipping the signs of the differences of equal seeds; with n "
            "seeds it cannot be below 2 / 2^n."
        )
    if "seeds" in methods:
        lines.append("Seeds: these two arms have other seeds, or unknown ones, so they are not paired and have no p.")
    if "paired episodes" in methods:
        lines.append(
            "Paired episodes: Newcombe's interval for paired rates and McNemar's exact test, of the episodes that two "
            "single runs began in equal initial states. They tell these two policies apart, not two methods."
        )
    if "episodes" in methods:
        lines.append(
            "Episodes: Newcombe's interval between single runs, their episodes taken for independent. The logs do not "
            "tell which of the last ones were successes in this metric, or they began in other initial states."
        )
    if any(not math.isnan(pair.p) for pair in pairs):
        lines.append("No p of the table is corrected for the number of pairs; the verdict is.")
    return lines


def _fixed_data(comparison: Comparison) -> list[str]:
    """Arms whose evaluations lie on top of each other."""
    same = [arm.label for arm in comparison.arms if any((one.x[1:] == one.x[:-1]).any() for one in arm.curves)]
    if not same:
        return []
    axis = AXIS_NAMES[comparison.question.axis]
    return [
        f"Evaluated several times at the same number of {axis}, of which the last counts in the curve; another --x "
        f"tells them apart: {', '.join(same)}."
    ]


def _thinned(comparison: Comparison) -> list[str]:
    """Whether the table of evaluations has fewer rows than there are evaluations."""
    points = len({point.x for arm in comparison.arms for point in arm.points})
    if points <= MOST_ROWS:
        return []
    return ["The table of evaluations does not show all of them; comparison.csv, which --out writes, has every one."]


def _no_stretch(comparison: Comparison) -> list[str]:
    """Why there are no areas, if there are none."""
    curves = [one for arm in comparison.arms for one in arm.curves]
    late, short = max(curves, key=lambda one: one.x[0]), min(curves, key=lambda one: one.x[-1])
    begin, end = float(late.x[0]), float(short.x[-1])
    if begin < end:
        return []
    question = comparison.question
    return [
        f"All runs have no stretch of {AXIS_NAMES[question.axis]} in common, so there are no areas: {short.run.name} "
        f"ends at {x_text(question, end)}, {late.run.name} begins at {x_text(question, begin)}."
    ]


def _continued(comparison: Comparison) -> list[str]:
    """Runs of rlft that went on from another one in a folder of their own; others have logged their start at step 0."""
    names = [one.run.name for arm in comparison.arms for one in arm.curves if one.run.begins_later]
    if not names:
        return []
    return [
        "Gone on from other runs, with whose env and simulator steps they count on, while iterations, updates and "
        f"hours are their own and their start was not evaluated: {', '.join(names)}."
    ]


def _intervals(arms: tuple[Arm, ...]) -> list[str]:
    """Where the intervals come from."""
    lines = []
    if any(len(arm.curves) > 1 for arm in arms):
        lines.append(
            f"[a, b] is the 95% percentile bootstrap interval over training seeds ({RESAMPLES:,} resamples). IQM is "
            "the mean without the lowest and the highest quarter of the seeds."
        )
    if few := [arm.label for arm in arms if 1 < len(arm.curves) < FEW_SEEDS]:
        lines.append(f"Fewer than {FEW_SEEDS} seeds, so the intervals are too narrow: {', '.join(few)}.")
    single = [arm for arm in arms if len(arm.curves) == 1]
    known = [arm.label for arm in single if not math.isnan(arm.means["last"].low)]
    unknown = [arm.label for arm in single if math.isnan(arm.means["last"].low)]
    if known:
        lines.append(
            "One seed only, so [a, b] is the 95% Wilson interval of the episodes of an evaluation, which says nothing "
            f"of other seeds: {', '.join(known)}."
        )
    if unknown:
        lines.append(
            "One seed only, and the log does not tell how many episodes an evaluation has, so there is no interval "
            f"(--episodes would give Wilson's): {', '.join(unknown)}."
        )
    return lines


def _definitions(question: Question) -> str:
    sentences = [
        "Change: the last evaluation of a run less its first one; of a single run with Newcombe's interval, for pairs "
        "of episodes from equal initial states where the logs have them.",
        "Last 20%: mean of the last fifth of the evaluations since training began. Best: the maximum of noisy values, "
        "biased upwards, the more so the more evaluations there are. Area: mean height of the curve over the stretch "
        f"of {AXIS_NAMES[question.axis]} that all runs cover.",
    ]
    if not math.isnan(question.threshold):
        sentences.append(
            f"To {shown(question, question.threshold)}: the first evaluation at or above it, its (upper) median over "
            "seeds and how many seeds got there."
        )
    if not math.isnan(question.collapse):
        fall = f"{100 * question.collapse:g} points" if question.is_rate else f"{question.collapse:g}"
        sentences.append(
            f"Collapsed: runs that fell more than {fall} below their own best, for {LASTING} evaluations or to the end."
        )
    return " ".join(sentences)
