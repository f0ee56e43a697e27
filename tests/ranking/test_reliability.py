import numpy as np
import pytest

from rlft.ranking.reliability import (
    Variances,
    corrected_variances,
    disattenuated,
    raw_variances,
    reliability_by_state,
    spearman_brown,
    split_half,
)
from rlft.statistics.correlations import pearson_within, spearman

STATES, ACTIONS, SAMPLES = 2000, 8, 16
BETWEEN, WITHIN = 1.0, 0.04


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(scope="module")
def q():
    """Q = f(s) + eps(a) with variances 1 and 0.04."""
    return BETWEEN**0.5 * draw(STATES, 1) + WITHIN**0.5 * draw(STATES, ACTIONS, seed=1)


def noisy(q, variance, *, common=0.0, seed=2):
    """Samples of Q; a share of the noise is common to the actions of a state."""
    own, shared = draw(*q.shape, SAMPLES, seed=seed), draw(len(q), 1, SAMPLES, seed=seed + 1)
    return q[..., None] + variance**0.5 * ((1 - common) ** 0.5 * own + common**0.5 * shared)


def test_spearman_brown_by_hand():
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(1.0) == 1.0


def test_reliability_is_the_share_of_the_variance_that_is_not_noise(q):
    found = split_half(noisy(q, SAMPLES * WITHIN))  # the mean of 16 has noise of variance WITHIN
    assert found.reliability == pytest.approx(1 / 2, abs=0.02)
    assert found.half_pearson == pytest.approx(1 / 3, abs=0.02)
    assert found.ceiling == pytest.approx(0.5**0.5, abs=0.02)


def test_a_perfect_estimator_reaches_the_ceiling_and_is_disattenuated_to_one(q):
    samples = noisy(q, SAMPLES * WITHIN)
    observed, truth = pearson_within(q, samples.mean(2)), split_half(samples)
    assert observed == pytest.approx(truth.ceiling, abs=0.02)
    assert disattenuated(observed, truth.reliability) == pytest.approx(1.0, abs=0.03)
    assert spearman(q, samples.mean(2)).mean() == pytest.approx(truth.rho_ceiling, abs=0.07)  # a correction for r


def test_noise_in_both_is_disattenuated_with_both_reliabilities(q):
    truth, estimate = noisy(q, SAMPLES * WITHIN), noisy(q, 3 * SAMPLES * WITHIN, seed=5)
    observed = pearson_within(estimate.mean(2), truth.mean(2))
    assert observed == pytest.approx((1 / 2 * 1 / 4) ** 0.5, abs=0.02)
    both = disattenuated(observed, split_half(truth).reliability, split_half(estimate).reliability)
    assert both == pytest.approx(1.0, abs=0.06)


def test_without_noise_reliability_is_one(q):
    assert split_half(np.repeat(q[..., None], 4, axis=2)).reliability == pytest.approx(1.0)


def test_reliability_by_state_tells_signal_from_noise(q):
    """The first half of the states has actions that differ, the second none, the last not even noise."""
    q = q.copy()
    q[1000:] = q[1000:, :1]
    samples = noisy(q, WITHIN)
    samples[-1] = 3.0
    found = reliability_by_state(samples)
    assert found[:1000].mean() > 0.9
    assert np.median(found[1000:]) == pytest.approx(0.0, abs=0.15)
    assert (found[1000:] > 0.5).mean() < 0.1
    assert found[-1] == 0


def test_no_reliability_no_correction():
    assert np.isnan(disattenuated(0.1, 0.0))
    assert np.isnan(disattenuated(0.1, -0.2))


def test_raw_variances_add_up_to_the_whole():
    q = draw(30, 5)
    raw = raw_variances(q)
    assert raw.between + raw.within == pytest.approx(q.var())


def test_raw_variances_by_hand():
    assert raw_variances(np.array([[0.0, 2.0], [4.0, 6.0]])) == Variances(between=4.0, within=1.0)


@pytest.mark.parametrize("common", [0.0, 0.9])
def test_corrected_variances_recover_the_construction(common, q):
    """Also where most of the noise is common to the actions of a state."""
    found = corrected_variances(noisy(q, 1.0, common=common))
    assert found.within == pytest.approx(WITHIN, rel=0.05)
    assert found.between == pytest.approx(BETWEEN, rel=0.1)
    assert found.ratio == pytest.approx(25, rel=0.1)


def test_the_correction_matters(q):
    raw = raw_variances(noisy(q, 1.0).mean(2))
    assert raw.within == pytest.approx((WITHIN + 1 / SAMPLES) * (1 - 1 / ACTIONS), rel=0.05)


def test_nothing_within_is_an_infinite_ratio():
    assert Variances(1.0, 0.0).ratio == float("inf")
