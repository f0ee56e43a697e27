import math

import pytest
import torch
from torch.distributions import Independent, Normal

from rlft.networks import GaussianActor, ValueCritic
from rlft.networks.distributions import DiagonalGaussian
from rlft.types import Obs


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def linears(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.Linear)]


def test_actor_has_144656_parameters_on_pickcube():
    # 42*256+256 + 2*(256*256+256) + 256*8+8 + 8 log stds
    assert num_parameters(GaussianActor(42, 8)) == 144_656


def test_critic_has_142849_parameters_on_pickcube():
    # 42*256+256 + 2*(256*256+256) + 256+1
    assert num_parameters(ValueCritic(42)) == 142_849


def test_entropy_of_eight_dimensions():
    # 8 (0.5 log(2 pi e) - 0.5)
    assert GaussianActor(42, 8).entropy(torch.zeros(3, 42)).item() == pytest.approx(7.351508, abs=1e-5)


def test_log_prob_of_the_mean():
    # -8 (-0.5 + 0.5 log(2 pi))
    actor = GaussianActor(42, 8)
    obs = Obs(torch.randn(3, 42))
    log_prob = actor.log_prob(obs, actor.mode(obs))
    assert log_prob.tolist() == pytest.approx([-3.351508] * 3, abs=1e-5)


def test_log_prob_and_entropy_agree_with_torch():
    log_std, mean, action = torch.randn(5), torch.randn(4, 7, 5), torch.randn(4, 7, 5)
    normal = Independent(Normal(mean, log_std.exp()), 1)
    assert torch.allclose(DiagonalGaussian(mean, log_std).log_prob(action), normal.log_prob(action), atol=1e-4)
    assert torch.allclose(DiagonalGaussian(mean, log_std).entropy(), normal.entropy()[0, 0], atol=1e-5)


@pytest.mark.parametrize("module", [GaussianActor(42, 8), ValueCritic(42)], ids=["actor", "critic"])
def test_initialisation_is_orthogonal_with_gain_sqrt_2_and_zero_bias(module):
    *hidden, head = linears(module)
    head_gain = 0.01 * math.sqrt(2) if isinstance(module, GaussianActor) else math.sqrt(2)
    for layer, gain in [*((layer, math.sqrt(2)) for layer in hidden), (head, head_gain)]:
        weight = layer.weight.detach()
        weight = weight if weight.shape[0] <= weight.shape[1] else weight.T  # the smaller side is orthogonal
        assert torch.allclose(weight @ weight.T, gain**2 * torch.eye(len(weight)), atol=1e-5)
        assert not layer.bias.any()


def test_initial_mean_action_is_small():
    assert GaussianActor(42, 8)(Obs(torch.randn(1000, 42))).abs().max() < 0.1


def test_hidden_layers_are_tanh_and_as_many_as_asked_for():
    critic = ValueCritic(3, hidden_dim=5, num_layers=2)
    x = torch.randn(4, 3)
    a, b, c = linears(critic)
    assert torch.allclose(critic(Obs(x)), c(b(a(x).tanh()).tanh()).squeeze(-1))
    assert num_parameters(critic) == (3 * 5 + 5) + (5 * 5 + 5) + (5 + 1)


def test_leading_dimensions_are_kept():
    assert GaussianActor(6, 2, 8, 1)(Obs(torch.zeros(4, 3, 6))).shape == (4, 3, 2)
    assert ValueCritic(6, 8, 1)(Obs(torch.zeros(4, 3, 6))).shape == (4, 3)
