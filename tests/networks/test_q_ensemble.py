"""Ensembles of action values: members apart, heads by closed forms."""

import math

import pytest
import torch

from rlft.errors import UserError
from rlft.networks.q_ensemble import QEnsemble
from rlft.networks.value_heads import HLGauss, Probability, SquaredError
from rlft.types import Obs


def inputs(batch=5, obs_dim=3, action_dim=2):
    return Obs(state=torch.randn(batch, obs_dim)), torch.rand(batch, action_dim) * 2 - 1


def by_hand(critic, member, obs, action):
    """One member, layer by layer, out of torch's own modules."""
    x = torch.cat([critic.standardised(obs.state), action], -1)
    for layer in critic.hidden:
        x = x @ layer.weight[member] + layer.bias[member]
        if critic.layer_norm:
            x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        x = x.relu()
    return x @ critic.output.weight[member] + critic.output.bias[member]


@pytest.mark.parametrize("layer_norm", [True, False])
def test_every_member_is_a_network_of_its_own(layer_norm):
    critic = QEnsemble(3, 2, num_critics=3, hidden_dim=8, layer_norm=layer_norm)
    for parameter in critic.parameters():
        parameter.data.normal_()
    critic.fit_moments(torch.randn(100, 3) * 4 + 1)
    obs, action = inputs()
    outputs = critic.outputs(obs, action)
    assert outputs.shape == (3, 5, 1)
    for member in range(3):
        torch.testing.assert_close(outputs[member], by_hand(critic, member, obs, action))


def test_layer_normalisation_bounds_what_is_said_of_actions_far_away():
    critic = QEnsemble(3, 2, hidden_dim=32, num_layers=1, head="mse")
    obs, action = inputs()
    far = critic.values(obs, action * 1e6).abs().amax(1)
    norm = critic.output.weight[:, :, 0].norm(dim=1) * math.sqrt(32) + critic.output.bias[:, 0, 0].abs()
    assert (far <= norm).all()


def test_frozen_weights_let_gradients_through_to_the_action_alone():
    critic = QEnsemble(3, 2, hidden_dim=8)
    obs, action = inputs()
    action.requires_grad_()
    critic.outputs(obs, action, frozen=True).sum().backward()
    assert action.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_observations_are_standardised_and_clipped():
    critic = QEnsemble(2, 1)
    critic.fit_moments(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))  # standard deviations sqrt(2) and 0
    expected = [[1 / math.sqrt(2), 0.0], [5.0, 5.0]]
    torch.testing.assert_close(critic.standardised(torch.tensor([[3.0, 7.0], [99.0, 99.0]])), torch.tensor(expected))


def test_the_mean_value_is_over_the_critics():
    critic, obs, action = QEnsemble(3, 2, num_critics=4, hidden_dim=8), torch.randn(5, 7, 3), torch.randn(5, 7, 2)
    expected = torch.stack([critic.values(Obs(obs[i]), action[i]).mean(0) for i in range(5)])
    assert torch.allclose(critic.mean_value(Obs(obs), action), expected, atol=1e-6)


def test_it_is_no_value_of_states():
    with pytest.raises(UserError, match="a value of actions, not of states"):
        QEnsemble(3, 2)(Obs(state=torch.zeros(1, 3)))


# ---- heads -------------------------------------------------------------------------------------------------------


def test_squared_errors():
    head = SquaredError()
    assert head.loss(torch.tensor([3.0]), torch.tensor(1.0)) == 2
    assert head.value(torch.tensor([3.0])) == head.preference(torch.tensor([3.0])) == 3


def test_the_cross_entropy_of_a_return_is_smallest_at_it():
    head, logit = Probability(), torch.linspace(-4, 4, 8001)[:, None]
    loss = head.loss(logit, torch.full((8001,), 0.3))
    assert head.value(logit[loss.argmin()]).item() == pytest.approx(0.3, abs=1e-3)
    assert loss.min().item() == pytest.approx(-0.3 * math.log(0.3) - 0.7 * math.log(0.7), abs=1e-6)
    assert head.preference(torch.tensor([2.0])) == 2


def test_a_distribution_that_is_the_target_has_its_value():
    head = HLGauss(-1, 3, bins=101)
    target = torch.tensor([-1.0, -0.2, 0.0, 1.234, 2.9])
    edges = (head.edges - target[:, None]) / head.deviation
    cumulative = torch.special.ndtr(edges)
    share = cumulative.diff(dim=1) / (cumulative[:, -1:] - cumulative[:, :1])
    inner = slice(1, 4)  # at the ends of the range the Gaussian is cut
    torch.testing.assert_close(head.value((share + 1e-30).log())[inner], target[inner], atol=2e-3, rtol=0)
    entropy = -(share * (share + 1e-30).log()).sum(1)
    torch.testing.assert_close(head.loss((share + 1e-30).log(), target), entropy)


def test_a_distribution_needs_a_range():
    with pytest.raises(UserError, match=r"value_range of a critic is None; it must be \[low, high\] for head hl_gauss"):
        QEnsemble(3, 2, head="hl_gauss")
    with pytest.raises(UserError, match="two finite, rising numbers"):
        QEnsemble(3, 2, head="hl_gauss", value_range=(1.0, 0.0))
