"""Statistics over seeds, against numbers derived by hand, scipy and plain loops."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, permutation_test, trim_mean

from rlft.comparison.aggregate import (
    Estimate,
    difference,
    improvement,
    iqm,
    mcnemar_p,
    mean,
    newcombe,
    over_seeds,
    paired_episodes,
    phi,
    sign_flip_p,
)


def array(*values):
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (range(1, 9), 4.5),
        ([7, 1, 100], 36.0),  # a quarter of three is less than one seed: nothing is cut
        ([1, 2, 3, 100], 2.5),
        ([100, 1, 2, 3, 4], 3.0),
    ],
)
def test_interquartile_mean(values, expected):
    assert iqm(array(*values)) == pytest.approx(expected)
    assert iqm(array(*values)) == pytest.approx(trim_mean(array(*values), 0.25))


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_equal_scores_have_an_interval_without_width(statistic):
    assert over_seeds(statistic, array(0.7, 0.7, 0.7)) == Estimate(*[pytest.approx(0.7, abs=1e-15)] * 3)


def test_one_seed_has_no_interval():
    estimate = over_seeds(mean, array(0.7))
    assert estimate.value == 0.7
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


@pytest.mark.parametrize("statistic", [mean, iqm])
def test_bootstrap_agrees_with_scipy(statistic):
    values = array(0.938, 0.828, 0.844, 0.555, 0.844)
    low, high = bootstrap(
        (values,), statistic, n_resamples=50_000, method="percentile", random_state=3
    ).confidence_interval
    found = over_seeds(statistic, values)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert found == over_seeds(statistic, values)


def test_two_seeds_by_hand():
    """The resamples of (0, 1) have means 0, 1/2, 1 with 1/4, 1/2, 1/4."""
    assert over_seeds(mean, array(0, 1)) == Estimate(0.5, 0.0, 1.0)


def test_paired_differences_leave_out_what_the_seeds_share():
    first = array(0.1, 0.5, 0.9, 0.3)
    second = first - 0.05
    paired, unpaired = difference(first, second, paired=True), difference(first, second, paired=False)
    assert (paired.value, paired.low, paired.high) == pytest.approx((0.05, 0.05, 0.05))
    assert unpaired.value == pytest.approx(0.05)
    assert unpaired.low < -0.2
    assert unpaired.high > 0.3


def test_a_difference_from_a_single_run_has_no_interval():
    found = difference(array(0.5), array(0.1, 0.3), paired=False)
    assert found.value == pytest.approx(0.3)
    assert math.isnan(found.low)


def test_newcombe_by_the_published_example():
    """Newcombe 1998, table II (a): 56/70 against 48/80, method 10: 0.2000 [0.0524, 0.3339]."""
    first, second = Estimate(56 / 70, 0.6918, 0.8769), Estimate(48 / 80, 0.4904, 0.7004)
    found = newcombe(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=2e-4)


def outcomes(both, first, second, neither):
    """Successes of two policies in as many equal initial states of each kind."""
    kinds = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return zip(*kinds, strict=True)


def test_newcombe_of_pairs_by_the_published_example():
    """Newcombe 1998, paired data, cells 36, 12, 2, 0, method 10: 0.2000 [0.0569, 0.3404]."""
    found, p = paired_episodes(*outcomes(36, 12, 2, 0))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)
    assert p == pytest.approx(2 * (1 + 14 + 91) / 2**14)


def test_pairs_that_agree_are_told_apart_better_than_unpaired_ones():
    alike, _ = paired_episodes(*outcomes(60, 10, 2, 28))
    unlike, _ = paired_episodes(*outcomes(34, 36, 28, 2))
    first, second = Estimate(0.70, 0.6042, 0.7811), Estimate(0.62, 0.5221, 0.7090)  # 70 and 62 of 100 in both
    unpaired = newcombe(first, second)
    assert alike.value == unlike.value == pytest.approx(unpaired.value)
    assert alike.high - alike.low < unpaired.high - unpaired.low < unlike.high - unlike.low


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((8, 2, 2, 8), (64 - 4 - 10) / 100),  # the correction takes away half of the episodes
        ((5, 4, 5, 6), 0.0),  # 30 - 20 is no more than half of the episodes
        ((2, 8, 8, 2), (4 - 64) / 100),  # nothing is taken from a negative one
        ((10, 0, 0, 0), 0.0),  # one of them always succeeds: no correlation is defined
    ],
)
def test_correlation_of_pairs_by_hand(cells, expected):
    assert phi(*cells) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [(12, 2), (3, 3), (0, 5), (1, 2), (560, 17)])
def test_mcnemar_agrees_with_scipy(pairs):
    assert mcnemar_p(*pairs) == mcnemar_p(*reversed(pairs)) == pytest.approx(binomtest(pairs[0], sum(pairs)).pvalue)


def test_mcnemar_of_equal_outcomes():
    assert mcnemar_p(0, 0) == 1.0


def test_sign_flips_by_hand():
    assert sign_flip_p(array(1, 2, 3)) == pytest.approx(2 / 8)  # only all or none flipped are as extreme
    assert sign_flip_p(array(1, 2, -3)) == 1.0  # the mean is 0
    assert sign_flip_p(array(0.1, 0.1, 0.1, 0.1, 0.1)) == pytest.approx(2 / 32)


@pytest.mark.parametrize("count", [9, 20])
def test_sign_flips_agree_with_scipy(count):
    """Both are exact up to 14 seeds; beyond, 10,000 draws have a standard error below 0.005."""
    values = np.random.default_rng(1).normal(0.35, 1.0, count)
    resamples = np.inf if count < 10 else 100_000
    expected = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=resamples)
    assert sign_flip_p(values) == pytest.approx(expected.pvalue, abs=1e-12 if count < 10 else 0.02)


def test_probability_of_improvement():
    first, second = array(0.5, 0.7, 0.9), array(0.7, 0.2)
    pairs = [(x > y) + 0.5 * (x == y) for x, y in itertools.product(first, second)]
    found = improvement(first, second)
    assert found.value == pytest.approx(sum(pairs) / 6) == pytest.approx(4.5 / 6)
    assert 0 <= found.low < found.value < found.high == 1
    assert improvement(second, first).value == pytest.approx(1 - found.value)
    assert math.isnan(improvement(array(0.5), second).low)
