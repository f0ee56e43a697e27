"""Corrections of a frozen policy."""

import math

import pytest
import torch

from rlft.errors import UserError
from rlft.networks import GaussianActor, ResidualActor
from rlft.networks.policy_files import load_policy, save_policy
from rlft.networks.residual import Gradual
from rlft.off_policy import EntropyRegularised
from rlft.off_policy.objective import Bounds
from rlft.types import Obs
from tests.support.user_actors import GeneratorActor


def states(count=64):
    return Obs(state=torch.randn(count, 3))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def trained(base, scale=0.2):
    """One whose residual is not 0."""
    actor = ResidualActor(base, scale, hidden_dim=16, num_layers=2)
    for parameter in actor.residual.action_head.parameters():
        parameter.data.normal_()
    return actor


@pytest.mark.parametrize("base", [GaussianActor(3, 2, 8, 2), GeneratorActor(3, 2)], ids=["Gaussian", "of a user"])
def test_with_a_scale_of_zero_it_is_its_base(base):
    actor, obs = trained(base, scale=0.0), states()
    assert torch.equal(actor.mode(obs), base.mode(obs))
    acted = actor.act(obs, torch.randn(64, 2))
    assert torch.equal(acted.action, base.mode(obs))
    assert not acted.log_prob_known.any()


def test_it_begins_as_its_base():
    base, obs = GaussianActor(3, 2, 8, 2), states(2000)
    actor = ResidualActor(base, 0.2, hidden_dim=16)
    assert torch.equal(actor.mode(obs), base.mode(obs))
    moved = actor.act(obs, torch.randn(2000, 2)).action - base.mode(obs)
    assert moved.std().item() == pytest.approx(0.2 * math.exp(-1.5), rel=0.1)


def test_it_never_goes_further_than_its_scale():
    base, obs = GaussianActor(3, 2, 8, 2), states()
    moved = trained(base).act(obs, 100 * torch.randn(64, 2)).action - base.mode(obs)
    assert moved.abs().max().item() == pytest.approx(0.2, abs=1e-6)


def test_its_density_is_that_of_its_actions():
    actor, obs = trained(GaussianActor(3, 1, 8, 2)), Obs(state=torch.randn(1, 3))
    place = actor.base.mode(obs).item()
    action = torch.linspace(place - 0.2, place + 0.2, 40_001)[1:-1, None]
    density = actor.log_prob(Obs(state=obs.state.expand(len(action), 3)), action).exp()
    assert (density.sum() * 1e-5).item() == pytest.approx(1, abs=1e-3)
    many = states()
    acted = actor.act(many, torch.randn(64, 1))
    torch.testing.assert_close(acted.joint_log_prob, actor.log_prob(many, acted.action), atol=1e-3, rtol=1e-3)


def test_only_the_residual_learns():
    base = GaussianActor(3, 2, 8, 2)
    actor = ResidualActor(base)
    assert all(name.startswith("residual.") for name, _ in actor.named_parameters())
    base.action_head[0].weight.data.zero_()  # the base is a copy
    assert actor.base.action_head[0].weight.abs().sum() > 0


@pytest.mark.parametrize("base", [GaussianActor(3, 2, 8, 2), GeneratorActor(3, 2)], ids=["Gaussian", "of a user"])
def test_it_is_a_policy_file(base, tmp_path):
    actor, obs = trained(trained(base, 0.1), 0.3), states()  # a correction may be corrected
    save_policy(tmp_path / "policy.safetensors", actor, None, {})
    loaded = load_policy(str(tmp_path / "policy.safetensors")).actor
    assert isinstance(loaded, ResidualActor)
    noise = torch.randn(64, 2)
    assert torch.equal(loaded.act(obs, noise).action, actor.act(obs, noise).action)
    assert {name for name, _ in loaded.named_parameters()} == {name for name, _ in actor.named_parameters()}


@pytest.mark.parametrize("scale", [-0.1, math.inf, math.nan])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(UserError, match="scale of a residual is"):
        ResidualActor(GaussianActor(3, 2, 8, 2), scale)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_steps_is_corrected(share):
    actor, obs = trained(GaussianActor(3, 2, 8, 2)), states(4000)
    gradual, noise = Gradual(actor, share), torch.randn(4000, 3)
    action, begun = gradual.act(obs, noise).action, actor.base.mode(obs)
    corrected = (action != begun).any(-1)
    assert torch.equal(action[corrected], actor.act(obs, noise[:, :2]).action[corrected])
    assert corrected.float().mean().item() == pytest.approx(share, abs=4 * math.sqrt(0.25 / 4000))
    assert torch.equal(gradual.mode(obs), actor.mode(obs))


def test_soft_actor_critic_finds_a_correction_within_reach_and_the_edge_of_one_beyond():
    """The best action is 0.1 from the base in one dimension, and 1 in the other."""
    base, obs = GaussianActor(3, 2, 8, 2), states(256)
    actor, objective = ResidualActor(base, 0.2, hidden_dim=32), EntropyRegularised(1e-3, entropy_per_action=-4.0)
    best, wide = (
        base.mode(obs).detach() + torch.tensor([0.1, 1.0]),
        Bounds(-torch.full((2,), 9.0), torch.full((2,), 9.0)),
    )
    optimizer = torch.optim.Adam(actor.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss, _ = objective.loss(
            actor, actor, obs, torch.randn(256, 2), lambda _, a: -((a - best) ** 2).sum(-1), wide, 0
        )
        loss.backward()
        optimizer.step()
    moved = (actor.mode(obs) - base.mode(obs)).mean(0)
    torch.testing.assert_close(moved, torch.tensor([0.1, 0.2]), atol=0.02, rtol=0)
