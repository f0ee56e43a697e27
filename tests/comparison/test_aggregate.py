"""Statistics over seeds, against numbers derived by hand, scipy and plain loops."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test, trim_mean

from rlft.comparison.aggregate import difference, improvement, iqm, mean, over_seeds, sign_flip_p
from rlft.statistics.rates import Estimate


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
