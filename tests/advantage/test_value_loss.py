import pytest
import torch

from rlft.advantage import GAE
from rlft.statistics.fit import explained_variance
from rlft.types import Obs
from tests.support.hand_made import ObsCritic, batch_of


def values(value, old_value, target):
    zeros = torch.zeros(len(value))
    return batch_of(
        Obs(torch.tensor(value)[:, None]), zeros[:, None], zeros, zeros, torch.tensor(old_value), torch.tensor(target)
    )


def test_half_the_mean_squared_error_times_its_weight():
    # errors 1 and 3: 0.5 (1 + 9) / 2 = 2.5; the metric is not weighted
    loss, metrics = GAE(vf_coef=0.2).critic_loss(ObsCritic(), values([1.0, 2.0], [0.0, 0.0], [0.0, 5.0]))
    assert loss.item() == pytest.approx(0.2 * 2.5)
    assert metrics["losses/value_loss"].item() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("value", "target", "error"),
    [
        # the old value is 1, so clipped values stay within [0.8, 1.2]
        (1.1, 2.0, 0.9),  # not clipped
        (2.0, 2.0, 0.8),  # clipped to 1.2: the larger error is 2 - 1.2
        (3.0, 1.0, 2.0),  # clipped error 0.2, the plain one is larger
    ],
)
def test_clipped_value_loss_takes_the_larger_error(value, target, error):
    loss, _ = GAE(vf_coef=1.0, clip_vloss=True).critic_loss(ObsCritic(), values([value], [1.0], [target]))
    assert loss.item() == pytest.approx(0.5 * error**2)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [([1.0, 2.0, 3.0], 1.0), ([2.0, 3.0, 4.0], 1.0), ([2.0, 2.0, 2.0], 0.0), ([3.0, 2.0, 1.0], -3.0)],
)
def test_explained_variance(prediction, expected):
    assert explained_variance(torch.tensor(prediction), torch.tensor([1.0, 2.0, 3.0])) == pytest.approx(expected)


def test_explained_variance_of_a_constant_is_zero():
    assert explained_variance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])) == 0.0
