"""What a comparison comes to, in a sentence for each pair that matters; never more than the test of the pair says."""

from __future__ import annotations

import math
from dataclasses import replace

from rlft.comparison.axes import AXIS_NAMES
from rlft.comparison.comparison import Arm, Comparison, Pair
from rlft.comparison.tables import legend_label, shown, x_text
from rlft.statistics.rates import Estimate, p_text

ALPHA = 0.05  # of a p, times the number of pairs: which arm is best was not known before (Bonferroni)
MOST_PAIRS = 4  # of the best arm and another one


def verdict(comparison: Comparison) -> list[str]:
    """The arm that ended highest against each of the others, and what is unequal between them."""
    best, *others = sorted(comparison.arms, key=lambda arm: -arm.means["last"].value)
    lines = [_sentence(comparison, best, other) for other in others[:MOST_PAIRS]]
    if left := len(others[MOST_PAIRS:]):
        lines.append(f"{left} more ended no higher than these; every pair is in the table of differences.")
    return [*lines, *_unequal_ends(comparison)]


def _sentence(comparison: Comparison, above: Arm, below: Arm) -> str:
    pair = _oriented(comparison.pairs, above, below)
    one, other = above.scores("last"), below.scores("last")
    found = shown(comparison.question, pair.difference, signed=True).removeprefix("+")
    size, _, interval = found.partition(" ")
    by = " ".join(filter(None, (size, "points" if comparison.question.is_rate else "", interval)))
    names = (legend_label(above), legend_label(below)) if pair.method == "seeds" else (above.label, below.label)
    if math.isclose(one.mean(), other.mean(), rel_tol=1e-6, abs_tol=1e-9):
        average = " on average" if max(len(one), len(other)) > 1 else ""
        return f"{names[0]} and {names[1]} ended level{average}, with a difference of {by}."
    how = ""
    if pair.method == "paired seeds":
        higher = int((one > other).sum())
        how = f" with all {len(one)} seeds" if higher == len(one) else f" on average, with {higher} of {len(one)} seeds"
    elif pair.method == "seeds":
        how = " on average"
    return f"{names[0]} ended above {names[1]}{how}, by {by}; {_trust(pair, len(one), len(comparison.pairs))}."


def _oriented(pairs: tuple[Pair, ...], first: Arm, second: Arm) -> Pair:
    """The pair of these arms, with the difference the way round that is asked for."""
    pair = next(pair for pair in pairs if {pair.first, pair.second} == {first.label, second.label})
    if pair.first == first.label:
        return pair
    found = pair.difference
    return replace(pair, difference=Estimate(-found.value, -found.high, -found.low))


def _trust(pair: Pair, seeds: int, pairs: int) -> str:
    """How far a difference can be told from chance."""
    p, times = f"p {p_text(pair.p)}", f", times {pairs} pairs" if pairs > 1 else ""
    beyond_chance = pair.p * pairs <= ALPHA
    if pair.method == "paired seeds":
        at_best = 2 / 2**seeds
        if beyond_chance:
            return f"that is unlikely to be chance ({p}{times})"
        if at_best * pairs <= ALPHA:
            return f"{seeds} seeds do not tell that from chance ({p}{times})"
        enough = math.ceil(math.log2(2 * pairs / ALPHA))
        return (
            f"{seeds} seeds cannot tell that from chance ({p}, at best {p_text(at_best)}{times}): run {enough} or more"
        )
    if pair.method == "seeds":
        return "no test tells that from chance, for their seeds are not the same or not known: run both with equal ones"
    of_other_seeds = "one run each says nothing of other seeds"
    if pair.method == "paired episodes":
        apart = "tell these two policies apart" if beyond_chance else "do not tell these two policies apart"
        return f"episodes from equal initial states {apart} ({p}{times}), and {of_other_seeds}"
    return f"no test tells that from chance, and {of_other_seeds}"


def _unequal_ends(comparison: Comparison) -> list[str]:
    """Runs of an arm, and arms, that got less far than others, such as runs that are still going on."""
    question, lines = comparison.question, []
    of_arms = {}
    for arm in comparison.arms:
        ends = [float(one.x[-1]) for one in arm.curves]
        of_arms[arm.label] = max(ends)
        if min(ends) < 0.95 * max(ends):
            lines.append(
                f"The runs of {arm.label} end at {x_text(question, min(ends))} to {x_text(question, max(ends))} "
                f"{AXIS_NAMES[question.axis]}, so their last evaluations are not alike."
            )
    first, last = min(of_arms, key=of_arms.__getitem__), max(of_arms, key=of_arms.__getitem__)
    if of_arms[first] < 0.95 * of_arms[last]:
        lines.append(
            f"Arms end at {x_text(question, of_arms[first])} ({first}) to {x_text(question, of_arms[last])} ({last}) "
            f"{AXIS_NAMES[question.axis]}, so the differences of the last evaluations are between unequal budgets."
        )
    return lines
