import copy

import pytest
import torch

from rlft.networks import ActionValueCritic, ValueCritic
from rlft.types import Obs
from tests.support.hand_made import same


@pytest.fixture
def critic():
    """Two Q networks that have moved away from their targets."""
    critic = ActionValueCritic(ValueCritic(6, 16, 2), 2)
    with torch.no_grad():
        for weight in critic.q.parameters():
            weight.add_(torch.randn_like(weight))
    return critic


def test_as_a_critic_it_is_v(critic):
    value = critic.state_value()
    obs = Obs(torch.randn(4, 3, 6))
    assert critic(obs).shape == (4, 3)
    assert torch.equal(value(obs), critic(obs))
    names = {f"value.{name}" for name in critic.value.state_dict()}
    assert set(value.state_dict()) == names <= set(critic.state_dict())


def test_targets_begin_as_copies_of_q_and_are_no_parameters():
    critic = ActionValueCritic(ValueCritic(6, 16, 2), 2, num_q=3)
    q = {f"target_{name}": weight for name, weight in critic.state_dict().items() if name.startswith("q.")}
    assert same(q, {name: weight for name, weight in critic.state_dict().items() if name.startswith("target_q.")})
    assert {name for name, _ in critic.named_buffers()} == set(q)
    assert not [name for name, _ in critic.named_parameters() if name.startswith("target_q.")]
    obs, action = Obs(torch.randn(5, 6)), torch.randn(5, 2)
    assert torch.equal(critic.target_action_value(obs, action), critic.action_values(obs, action).amin(0))


def test_q_networks_are_as_large_as_v_and_begin_differently(critic):
    one, other = critic.q
    assert [w.shape for w in one.parameters()] == [(16, 8), (16,), (16, 16), (16,), (1, 16), (1,)]
    fresh = ActionValueCritic(ValueCritic(6, 16, 2), 2).q
    assert not torch.equal(fresh[0][0].weight, fresh[1][0].weight)
    obs, action = Obs(torch.randn(4, 3, 6)), torch.randn(4, 3, 2)
    values = critic.action_values(obs, action)
    assert values.shape == (2, 4, 3)
    x = torch.cat([obs.state, action], -1)
    assert torch.equal(values, torch.stack([one(x), other(x)])[..., 0])


def test_targets_move_by_polyak(critic):
    before = [target.clone() for target in critic.target_q.buffers()]
    critic.update_targets(0.25)
    for old, new, weight in zip(before, critic.target_q.buffers(), critic.q.parameters(), strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * weight, atol=1e-6)
        assert not new.requires_grad


def test_the_target_of_a_frozen_weight_stays(critic):
    frozen, other = critic.q
    frozen.requires_grad_(False)
    before = copy.deepcopy(critic.target_q.state_dict())
    critic.update_targets(0.25)
    changed = {name.split(".")[0] for name, old in before.items() if not old.equal(critic.target_q.state_dict()[name])}
    assert changed == {"1"}
    other.requires_grad_(False)
    critic.update_targets(0.25)  # nothing left to do


def test_targets_pass_no_gradient(critic):
    obs = Obs(torch.randn(5, 6, requires_grad=True))
    assert not critic.target_action_value(obs, torch.randn(5, 2)).requires_grad


def test_a_copy_has_its_own_targets(critic):
    other = copy.deepcopy(critic)
    other.update_targets(0.5)
    assert not same(critic.target_q.state_dict(), other.target_q.state_dict())
