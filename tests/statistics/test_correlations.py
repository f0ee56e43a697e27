import numpy as np
import pytest
from scipy import stats

from rlft.statistics.correlations import (
    across_states,
    bootstrap,
    concordance,
    kendall,
    pearson_within,
    rank_correlation,
    spearman,
    top1_agreement,
    within_state,
)

STATES, ACTIONS = 200, 8


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(params=[None, 3], ids=["no_ties", "many_ties"])
def pair(request):
    """Estimates and true values, correlated; with few distinct values there are ties, also whole states of them."""
    truth = draw(STATES, ACTIONS)
    estimate = truth + draw(STATES, ACTIONS, seed=1)
    if request.param is not None:
        truth, estimate = (np.clip(np.round(x), 0, 1) for x in (truth, estimate))
        truth[:5], estimate[5:9] = 1.0, 0.0
    return estimate, truth


def by_state(statistic, estimate, truth):
    """The reference: scipy on one state after the other, 0 where only the estimate does not vary."""
    with np.errstate(all="ignore"):
        found = [statistic(x, y).statistic for x, y in zip(estimate, truth, strict=True)]
    found = np.where((np.ptp(estimate, 1) == 0) & (np.ptp(truth, 1) > 0), 0.0, found)
    return np.where(np.ptp(truth, 1) == 0, np.nan, found)


@pytest.mark.filterwarnings("ignore:An input array is constant")
@pytest.mark.parametrize(("ours", "theirs"), [(spearman, stats.spearmanr), (kendall, stats.kendalltau)])
def test_rank_correlations_are_those_of_scipy(ours, theirs, pair):
    np.testing.assert_allclose(ours(*pair), by_state(theirs, *pair), atol=1e-12)


def test_top1_and_concordance_by_hand():
    truth = np.array([[0.0, 1.0, 2.0]] * 4 + [[1.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    estimate = np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1], [0, 2, 2], [2, 1, 0], [0, 1, 2]], dtype=float)
    np.testing.assert_allclose(top1_agreement(estimate, truth), [1, 0, 1 / 3, 1 / 2, 1, np.nan])
    # Fourth: 0 < 1 and 0 < 2 are right, 1 < 2 is a tie. Fifth: the pair of equal true values does not count.
    np.testing.assert_allclose(concordance(estimate, truth), [1, 0, 1 / 2, 2.5 / 3, 1, np.nan])


@pytest.mark.parametrize("transform", [np.exp, lambda x: x**3, lambda x: 7 * x - 2, lambda x: x + draw(len(x), 1)])
def test_monotone_transforms_within_states_change_no_order(transform, pair):
    estimate, truth = pair
    for measure in (spearman, kendall, concordance, top1_agreement):
        np.testing.assert_allclose(measure(transform(estimate), truth), measure(estimate, truth), atol=1e-12)


def test_a_random_estimator_is_within_its_null_distribution():
    """The standard deviation of one Spearman of 8 values is 1 / sqrt(7) (section 9.2)."""
    found = within_state(draw(STATES, ACTIONS, seed=2), draw(STATES, ACTIONS))
    assert abs(found.spearman.value) < 3 * 0.378 / STATES**0.5
    assert abs(found.top1.value - 1 / ACTIONS) < 3 * (1 / 8 * 7 / 8 / STATES) ** 0.5


def test_many_random_estimators_have_the_null_standard_deviation():
    rho = spearman(draw(20_000, ACTIONS, seed=3), draw(20_000, ACTIONS))
    assert rho.std() == pytest.approx(7**-0.5, rel=0.02)


def test_dropped_states_are_counted_and_may_count_as_zero():
    truth = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    found = within_state(np.array([[1.0, 2.0, 3.0]] * 2 + [[9.0, 5.0, 1.0]] * 2), truth)
    assert (found.states, found.dropped, found.spearman.value, found.spearman_all) == (2, 2, 1.0, 0.5)


@pytest.mark.parametrize("worth", [1.0, 0.1])  # the mean of three times 0.1 is another number
def test_nothing_to_rank_gives_nan_rather_than_an_error(worth):
    nothing = np.full((5, 3), worth)
    assert np.isnan(pearson_within(nothing, nothing))
    found = within_state(draw(5, 3), nothing)
    assert found.dropped == 5
    assert np.isnan([found.spearman.value, found.top1.low, found.pearson.value, found.pearson.high]).all()


def test_noise_as_large_as_the_signal_attenuates_pearson_to_the_root_of_one_half():
    truth = draw(20_000, ACTIONS) + 100 * draw(20_000, 1, seed=4)  # states differ much more than actions
    estimate = truth + draw(20_000, ACTIONS, seed=5)
    assert pearson_within(estimate, truth) == pytest.approx(0.5**0.5, abs=0.01)
    assert within_state(estimate, truth).pearson.value == pytest.approx(pearson_within(estimate, truth))


def test_pooled_and_across_state_correlations_are_those_of_scipy(pair):
    estimate, truth = pair
    assert rank_correlation(estimate, truth) == pytest.approx(
        stats.spearmanr(estimate.ravel(), truth.ravel()).statistic
    )
    rho, r = across_states(estimate[:, 0], truth[:, 0])
    assert rho.value == pytest.approx(stats.spearmanr(estimate[:, 0], truth[:, 0]).statistic)
    assert r.value == pytest.approx(stats.pearsonr(estimate[:, 0], truth[:, 0]).statistic)
    assert rho.low < rho.value < rho.high


def test_bootstrap_intervals_cover_the_truth_and_shrink_with_the_root_of_the_sample():
    def interval(count, seed):
        values = np.random.default_rng(seed).normal(size=count)
        return bootstrap(lambda rows: values[rows].mean(1), count)

    found = [interval(50, seed) for seed in range(300)]
    coverage = np.mean([i.low <= 0 <= i.high for i in found])
    assert 0.90 < coverage < 0.98
    width = np.mean([i.high - i.low for i in found])
    assert width == pytest.approx(2 * 1.96 / 50**0.5, rel=0.05)
