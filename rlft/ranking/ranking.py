"""The ranking study: which estimators of A or Q put the actions of a state in the right order?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlft.ranking.estimators import (
    DECIMALS,
    LAMBDAS,
    TD_STEPS,
    USUAL_LAMBDA,
    Value,
    generalised_advantage,
    monte_carlo,
    rewards,
    score,
    temporal_difference,
    values,
    values_after,
)
from rlft.ranking.reliability import (
    Reliability,
    Variances,
    corrected_variances,
    disattenuated,
    raw_variances,
    reliability_by_state,
    split_half,
)
from rlft.ranking.simulation import Actions, Paths
from rlft.statistics.correlations import (
    Array,
    Interval,
    WithinState,
    across_states,
    mean_over_states,
    rank_correlation,
    spearman,
    within_state,
)

INDEPENDENT, SHARED = "independent", "shared"
RELIABLE = 0.5
NOWHERE = Interval(math.nan, math.nan, math.nan)
SHARED_TRAJECTORIES = 10  # of the founding documents, for ground truth and estimators alike


@dataclass(frozen=True)
class Score:
    """How well one estimator ranks the actions of a state."""

    protocol: str  # `independent` ground truth, or `shared` with the estimators
    estimator: str
    trajectories: int  # that each action's estimate is made of; 0 for a network, which sees none
    within: WithinState
    reliable: Interval  # Spearman's rho in the states whose independent ground truth is reliable
    corrected: float  # Pearson's r within states, free of the ground truth's noise; NaN if that is shared
    pooled: float  # Spearman's rho of all actions of all states: it says how states are ranked


@dataclass(frozen=True)
class CriticScore:
    """How well a critic ranks states."""

    critic: str
    spearman: Interval  # across states
    pearson: Interval


@dataclass(frozen=True)
class Ranking:
    """Everything a study found."""

    truth: Reliability
    reliable_states: int  # in which more of the ground truth's variance among actions is signal than noise
    reliable_halves: float  # Spearman's rho of one half of the ground truth with the other in these
    raw: Variances
    corrected: Variances
    scores: tuple[Score, ...]
    critics: tuple[CriticScore, ...]


def trajectory_estimates(
    actions: Actions, paths: Paths, gamma: float, critics: Mapping[str, Value]
) -> dict[str, Tensor]:
    """Estimates `[N, J, M]` by name: Monte Carlo, then GAE and TD with the first critic and GAE with each other one."""
    reward = rewards(actions, paths)
    found = {"MC": monte_carlo(reward, gamma)}
    for number, (name, critic) in enumerate(critics.items()):
        value, after = values(critic, actions.obs), values_after(critic, actions, paths)
        for gae_lambda in LAMBDAS if number == 0 else (USUAL_LAMBDA,):
            found[f"GAE({gae_lambda:g}), {name}"] = generalised_advantage(reward, value, after, gamma, gae_lambda)
        for n in TD_STEPS if number == 0 else ():
            found[f"TD({n}), {name}"] = temporal_difference(reward, value, after, gamma, n)
    return found


def rank_estimators(
    actions: Actions,
    truth: Tensor,
    estimates: Mapping[str, Tensor],
    learned: Mapping[str, Tensor],
    critics: Mapping[str, Value],
    protocols: tuple[str, ...],
) -> Ranking:
    """The whole comparison.

    Args:
        actions: `N` states, `J` actions in each.
        truth: independent samples of Q, `[N, J, K]`.
        estimates: of each trajectory, `[N, J, M]`; must hold `MC`.
        learned: scores of networks, `[N, J]`.
        critics: state values.
        protocols: `independent`, `shared`, or both.
    """
    samples = truth.double().numpy()
    reliability, q = split_half(samples), samples.mean(2).round(DECIMALS)
    reliable = reliability_by_state(samples) > RELIABLE  # [N]
    networks = {name: scores.double().numpy() for name, scores in learned.items()}
    scores: list[Score] = []
    if INDEPENDENT in protocols:
        scores += _scores(INDEPENDENT, q, estimates, networks, reliable, reliability.reliability)
    if SHARED in protocols:
        count = min(SHARED_TRAJECTORIES, estimates["MC"].shape[2])
        same = {name: estimate[..., :count] for name, estimate in estimates.items()}
        scores += _scores(SHARED, score(same["MC"], count), same, networks, reliable, math.nan, counts=(count,))
    return Ranking(
        truth=reliability,
        reliable_states=int(reliable.sum()),
        reliable_halves=split_half(samples[reliable]).half_spearman if reliable.any() else math.nan,
        raw=raw_variances(q),
        corrected=corrected_variances(samples),
        scores=tuple(scores),
        critics=tuple(_critic_score(name, critic, actions, q) for name, critic in critics.items()),
    )


def trajectory_counts(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `most`."""
    return tuple(sorted({most, *(2**k for k in range(most.bit_length()))}))


def _scores(
    protocol: str,
    truth: Array,
    estimates: Mapping[str, Tensor],
    networks: Mapping[str, Array],
    reliable: NDArray[np.bool_],
    reliability: float,
    counts: tuple[int, ...] = (),
) -> Iterator[Score]:
    """One row per estimator and number of trajectories."""

    def row(name: str, scores: Array, count: int) -> Score:
        within = within_state(scores, truth)
        return Score(
            protocol=protocol,
            estimator=name,
            trajectories=count,
            within=within,
            reliable=mean_over_states(spearman(scores[reliable], truth[reliable])) if reliable.any() else NOWHERE,
            corrected=disattenuated(within.pearson.value, reliability),
            pooled=rank_correlation(scores, truth),
        )

    for name, estimate in estimates.items():
        for count in counts or trajectory_counts(estimate.shape[2]):
            yield row(name, score(estimate, count), count)
    for name, scores in networks.items():
        yield row(name, scores, 0)


def _critic_score(name: str, critic: Value, actions: Actions, q: Array) -> CriticScore:
    """Against the mean of the actions that were sampled from the policy."""
    value = values(critic, actions.obs).numpy()
    return CriticScore(name, *across_states(value, q.mean(1)))
