"""What a policy does, from the numbers of an evaluation: for reports, and for whoever has only these numbers."""

from __future__ import annotations

from collections.abc import Mapping

EVALUATED = "eval/"  # with the mean action
MEASURE, FAILED = "behaviour/", "failed/"  # how names begin, after the name of the evaluation


def measures(metrics: Mapping[str, float], evaluation: str = EVALUATED) -> dict[str, float]:
    """The task's measures of episodes, by name; none of most tasks."""
    return _under(f"{evaluation}{MEASURE}", metrics)


def failure_sentence(metrics: Mapping[str, float], evaluation: str = EVALUATED) -> str:
    """A sentence on what failed episodes do; nothing if the task does not tell.

    `It fails in 84.4% of its episodes: hovers open handed in 80.5%, grasps but does not lift in 3.9%.`

    Kinds need not be verbs for that: `never near in 86.7%`.
    """
    shares = {kind: share for kind, share in _under(f"{evaluation}{FAILED}", metrics).items() if share == share}
    if not shares:
        return ""
    most_first = sorted((kind for kind in shares if shares[kind] > 0), key=lambda kind: -shares[kind])
    if not most_first:
        return "It fails in none of its episodes."
    kinds = [f"{kind.replace('_', ' ')} in {shares[kind]:.1%}" for kind in most_first]
    return f"It fails in {sum(shares.values()):.1%} of its episodes: {', '.join(kinds)}."


def _under(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
