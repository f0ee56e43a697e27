import math

import pytest
import torch

from rlft.statistics.mismatch import classifier_auc, critic_fit, mmd_squared, neighbour_percentile


def draw(count, dim=4, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_identical_sets_cannot_be_told_apart():
    assert classifier_auc(draw(500), draw(500)) == pytest.approx(0.5, abs=0.03)


def test_sets_of_one_distribution_cannot_be_told_apart():
    assert classifier_auc(draw(3000), draw(2000, seed=1)) == pytest.approx(0.5, abs=0.03)


def test_shifted_sets_are_told_apart_as_well_as_is_possible():
    """Two normal distributions d standard deviations apart: the best area is Phi(d / sqrt(2)), 0.7602 at d = 1."""
    shifted = draw(3000, seed=1) + torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert classifier_auc(draw(3000), shifted) == pytest.approx(0.7602, abs=0.02)


def test_a_change_of_scale_alone_is_seen():
    assert classifier_auc(draw(1000), 2 * draw(1000, seed=1)) > 0.75


def test_sets_without_overlap_are_told_apart_and_constant_dimensions_do_no_harm():
    far = draw(200, seed=1) + 100
    first, far = (torch.cat([part, torch.ones(200, 1)], 1) for part in (draw(200), far))
    assert classifier_auc(first, far) == pytest.approx(1.0)


def test_mmd_by_hand():
    """Points 0, 1 and 1, 2: distances 1, 1, 2, 0, 1, 1, median 1, so that k = exp(-d^2 / 2).

    Within: k(1) each. Across: k(1), k(2), k(0), k(1). MMD^2 = 2 k(1) - (2 k(1) + k(2) + 1) / 2.
    """
    k1, k2 = math.exp(-0.5), math.exp(-2.0)
    found = mmd_squared(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]]))
    assert found == pytest.approx(2 * k1 - (2 * k1 + k2 + 1) / 2)


def test_mmd_is_unbiased():
    found = [mmd_squared(draw(40, seed=seed), draw(30, seed=1000 + seed)) for seed in range(200)]
    mean, error = sum(found) / 200, torch.tensor(found).std() / 200**0.5
    assert abs(mean) < 3 * error
    assert min(found) < 0 < max(found)


def test_mmd_grows_with_the_shift():
    distances = [mmd_squared(draw(300), draw(300, seed=1) + shift) for shift in (0.0, 0.3, 1.0, 3.0)]
    assert distances == sorted(distances)
    assert distances[-1] > 0.3


def test_mmd_of_equal_points_is_zero():
    assert mmd_squared(torch.ones(3, 2), torch.ones(4, 2)) == 0


def test_neighbour_percentile_is_uniform_for_the_same_distribution_and_one_outside():
    data = draw(2000)
    assert float(neighbour_percentile(data, draw(1000, seed=1)).mean()) == pytest.approx(0.5, abs=0.04)
    assert float(neighbour_percentile(data, draw(100, seed=1) + 10).min()) == 1.0


def test_of_episodes_the_neighbour_percentile_is_larger_although_nothing_differs():
    """Twenty steps that nearly stand still: the nearest others are those of the same episode, never of the query's."""
    data, queries = (
        draw(100, seed=seed).repeat_interleave(20, 0) + 0.01 * draw(2000, seed=seed + 2) for seed in (0, 1)
    )
    assert float(neighbour_percentile(data, queries).mean()) > 0.9


def test_neighbour_percentile_by_hand():
    """Data 0, 1, 3, 7: the nearest other one is 1, 1, 2, 4 away; the query 4.5 is 1.5 away from the data, 9 is 2."""
    data = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    found = neighbour_percentile(data, torch.tensor([[4.5], [9.0], [3.5], [20.0]]), k=1)
    assert found.tolist() == [0.5, 0.75, 0.0, 1.0]


def test_critic_fit_by_hand():
    """Values twice as extreme as their targets and one too high."""
    target = torch.tensor([0.0, 1.0, 2.0, 3.0])
    found = critic_fit(2 * target + 1, target)
    assert found.bias == 2.5
    assert found.calibration_slope == pytest.approx(0.5)
    assert found.explained_variance == pytest.approx(0.0)  # the error varies as much as the target
    assert found.spearman == pytest.approx(1.0)
