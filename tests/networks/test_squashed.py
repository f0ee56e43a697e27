"""The density of a squashed Gaussian, by closed form and by integration."""

import math

import pytest
import torch

from rlft.networks.squashed import SquashedGaussianActor
from rlft.types import Obs


def actor_with(mean, log_std, action_dim=1):
    """An actor with the same mean and standard deviation everywhere."""
    actor = SquashedGaussianActor(1, action_dim, hidden_dim=4)
    raw = math.atanh((log_std + 5) / 3.5 - 1)
    actor.action_head.weight.data.zero_()
    actor.action_head.bias.data = torch.tensor([mean] * action_dim + [raw] * action_dim)
    return actor


def test_the_density_at_one_half():
    found = actor_with(0.0, 0.0).log_prob(Obs(state=torch.zeros(1, 1)), torch.tensor([[0.5]]))
    assert found.item() == pytest.approx(-0.782125, abs=1e-5)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-1.0, 0.5)])
def test_it_integrates_to_one(mean, log_std):
    action = torch.linspace(-1, 1, 200_001)[1:-1, None]
    density = actor_with(mean, log_std).log_prob(Obs(state=torch.zeros(len(action), 1)), action).exp()
    assert (density.sum() * 1e-5).item() == pytest.approx(1, abs=1e-3)


def test_what_it_does_has_the_density_that_it_says():
    torch.manual_seed(0)
    actor, obs = SquashedGaussianActor(3, 2), Obs(state=torch.randn(50, 3))
    acted = actor.act(obs, torch.randn(50, 2))
    assert acted.action.abs().max() < 1
    torch.testing.assert_close(acted.joint_log_prob, actor.log_prob(obs, acted.action), atol=1e-4, rtol=1e-4)


def test_the_mode_is_the_squashed_mean():
    assert actor_with(0.7, 0.0).mode(Obs(state=torch.zeros(1, 1))).item() == pytest.approx(math.tanh(0.7))
