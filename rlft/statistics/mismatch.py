"""How different two sets of states are, and how good a critic is on each: distribution mismatch.

Observations are `[M, O]`. Rows that belong together, such as those of one episode, must be neighbours, so that
cross-validation does not test a classifier on the neighbours of what it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rlft.statistics.correlations import rank_correlation
from rlft.statistics.fit import calibration_slope, explained_variance

FOLDS = 5
WEIGHT_DECAY = 1e-3  # keeps the classifier finite where the sets can be told apart without error


@dataclass(frozen=True)
class CriticFit:
    """How good a critic's values are in a set of states."""

    explained_variance: float
    bias: float  # mean of prediction - target
    calibration_slope: float  # of the target on the prediction: 1 if calibrated
    spearman: float  # across states


def critic_fit(value: Tensor, target: Tensor) -> CriticFit:
    """Of predictions and what they should have been, `[M]` each."""
    return CriticFit(
        explained_variance=explained_variance(value, target),
        bias=float((value - target).mean()),
        calibration_slope=calibration_slope(value, target),
        spearman=rank_correlation(value.double().numpy(), target.double().numpy()),
    )


def classifier_auc(first: Tensor, second: Tensor) -> float:
    """Classifier two-sample test: how well unseen states `[M, O]`, `[L, O]` can be told apart; 0.5 is not at all.

    Cross-validated area under the ROC curve of a logistic regression on the standardised observations and their
    squares (Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests").
    """
    parts = (first.double().tensor_split(FOLDS), second.double().tensor_split(FOLDS))
    areas = []
    for fold in range(FOLDS):
        train = [torch.cat([*part[:fold], *part[fold + 1 :]]) for part in parts]
        test = [part[fold] for part in parts]
        both = torch.cat(train)
        mean, scale = both.mean(0), both.std(0)
        scale = torch.where(scale > 0, scale, 1.0)

        def features(obs: Tensor, mean: Tensor = mean, scale: Tensor = scale) -> Tensor:
            z = (obs - mean) / scale
            return torch.cat([z, z**2], 1)

        weight = _logistic_regression(features(train[0]), features(train[1]))
        areas.append(_area_under_curve(features(test[0]) @ weight, features(test[1]) @ weight))
    return sum(areas) / FOLDS


def mmd_squared(first: Tensor, second: Tensor) -> float:
    """Squared maximum mean discrepancy of `[M, O]` and `[L, O]`, unbiased: 0 on average if the distributions are equal.

    Gretton et al. 2012, "A Kernel Two-Sample Test", equation 3, with k(x, y) = exp(-|x - y|^2 / (2 h^2)) and h the
    median distance of all pairs. States that depend on each other, as those of an episode, make it larger. Takes memory
    for (M + L)^2 distances.
    """
    m, n = len(first), len(second)
    both = torch.cat([first, second]).double()
    distance = torch.cdist(both, both)  # [M + L, M + L]
    pairs = distance[torch.triu(torch.ones_like(distance, dtype=torch.bool), diagonal=1)]
    bandwidth = pairs.median()
    if bandwidth == 0:  # more than half of all pairs are equal
        bandwidth = pairs.mean()
    kernel = torch.exp(-(distance**2) / (2 * bandwidth**2)) if bandwidth > 0 else torch.ones_like(distance)
    same = [(block.sum() - len(block)) / (len(block) * (len(block) - 1)) for block in (kernel[:m, :m], kernel[m:, m:])]
    return float(same[0] + same[1] - 2 * kernel[:m, m:].sum() / (m * n))


def neighbour_percentile(data: Tensor, queries: Tensor, k: int = 5) -> Tensor:
    """How far outside the data `[M, O]` each query `[L, O]` lies, `[L]` from 0 to 1; 0.5 on average if not at all.

    That is of independent rows: where the nearest others of the data are steps of the same episode, it is larger.

    The share of the data whose distance to the k-th nearest other data is at most that of the query. Both in units of
    the data's standard deviation per dimension.
    """
    scale = data.std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    inside = torch.cdist(data / scale, data / scale).kthvalue(k + 1, dim=1).values  # [M], the nearest is itself
    outside = torch.cdist(queries / scale, data / scale).kthvalue(k, dim=1).values  # [L]
    return torch.searchsorted(inside.sort().values, outside, right=True) / len(data)


def _logistic_regression(negative: Tensor, positive: Tensor) -> Tensor:
    """Weights `[F]`; no intercept, which does not change an order."""
    inputs = torch.cat([negative, positive])  # [M, F]
    inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
    label = torch.cat([negative.new_zeros(len(negative)), positive.new_ones(len(positive))])
    weight = inputs.new_zeros(inputs.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(inputs @ weight, label) + WEIGHT_DECAY * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach()[:-1]


def _area_under_curve(negative: Tensor, positive: Tensor) -> float:
    """Chance that a positive score is above a negative one, ties one half (Mann and Whitney 1947)."""
    ranks = rankdata(torch.cat([negative, positive]).numpy())
    pairs = len(negative) * len(positive)
    return float((ranks[len(negative) :].sum() - len(positive) * (len(positive) + 1) / 2) / pairs)
