"""What actors climb: closed forms and the way of gradients."""

import math

import pytest
import torch

from rlft.networks import GaussianActor
from rlft.networks.squashed import SquashedGaussianActor
from rlft.off_policy import Anchored, EntropyRegularised
from rlft.off_policy.objective import Bounds
from rlft.types import Obs

BOUNDS = Bounds(-torch.ones(2), torch.ones(2))


def test_a_clipped_action_moves_inward_only():
    action = torch.tensor([[2.0, 0.5], [2.0, -3.0], [1.0, -1.0]], requires_grad=True)
    clipped = BOUNDS.clip(action)
    assert clipped.tolist() == [[1.0, 0.5], [1.0, -1.0], [1.0, -1.0]]
    gradient = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])  # a step goes the other way
    clipped.backward(gradient)
    assert action.grad.tolist() == [[0.0, -1.0], [1.0, -1.0], [0.0, 0.0]]


def constant(*means):
    """An actor with the same mean everywhere."""
    actor = GaussianActor(3, 2, 8, 1)
    last = [module for module in actor.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.weight.data.zero_()
    last.bias.data = torch.tensor(means)
    return actor


def anchored_loss(objective, env_steps=0):
    obs, noise = Obs(state=torch.zeros(4, 3)), torch.full((4, 2), 2.0)
    seen = []

    def values(_, action):
        seen.append(action)
        return action.sum(-1)

    actor, start = constant(0.5, -0.5), constant(0.25, 0.0)
    loss, metrics = objective.loss(actor, start, obs, noise, values, BOUNDS, env_steps)
    return loss.item(), metrics, seen[0]


def test_the_anchored_loss_by_hand():
    loss, metrics, action = anchored_loss(Anchored(anchor=2.0, final_anchor=2.0, smoothing=0.1))
    torch.testing.assert_close(action, torch.tensor([[0.7, -0.3]]).expand(4, 2))
    assert loss == pytest.approx(2 * (0.25**2 + 0.5**2) - (0.7 - 0.3))
    assert metrics["charts/distance_to_start"].item() == pytest.approx(math.sqrt(0.25**2 + 0.5**2))
    assert metrics["charts/clipped_actions"] == 0


def test_the_anchor_falls_linearly_and_stays():
    objective = Anchored(anchor=1.0, final_anchor=0.6, anchor_steps=100)
    assert [objective.weight(steps) for steps in (0, 50, 100, 1000)] == pytest.approx([1.0, 0.8, 0.6, 0.6])


def test_targets_of_the_anchored_actor_are_of_its_mode_with_noise():
    action, bonus = Anchored(smoothing=0.1).target_action(
        constant(0.95, 0.0), Obs(state=torch.zeros(1, 3)), torch.ones(1, 2), BOUNDS
    )
    torch.testing.assert_close(action, torch.tensor([[1.0, 0.1]]))
    assert bonus.tolist() == [0.0]


def test_the_temperature_falls_where_there_is_more_entropy_than_wanted():
    actor, objective = SquashedGaussianActor(3, 2, 8), EntropyRegularised(temperature=1.0, entropy_per_action=-5.0)
    obs, noise = Obs(state=torch.zeros(64, 3)), torch.randn(64, 2)
    loss, metrics = objective.loss(actor, actor, obs, noise, lambda _, action: 0 * action.sum(-1), BOUNDS, 0)
    loss.backward()
    assert metrics["losses/entropy"] > -10
    assert objective.log_temperature.grad > 0  # a step lowers it
    assert objective.log_temperature.grad.item() == pytest.approx(metrics["losses/entropy"].item() + 10, rel=1e-5)


def test_the_entropy_of_next_actions_counts_if_it_should():
    actor, obs, noise = SquashedGaussianActor(3, 2, 8), Obs(state=torch.zeros(4, 3)), torch.randn(4, 2)
    expected = -0.5 * actor.act(obs, noise).joint_log_prob
    for backup in (True, False):
        objective = EntropyRegularised(temperature=0.5, backup=backup)
        action, bonus = objective.target_action(actor, obs, noise, BOUNDS)
        torch.testing.assert_close(bonus, expected if backup else torch.zeros(4))
        torch.testing.assert_close(action, actor.act(obs, noise).action)


def test_a_soft_bandit_ends_with_the_variance_of_its_temperature():
    """Without squashing, Q = -k a^2 / 2 and a fixed alpha make a Gaussian of variance alpha / k the best one."""
    torch.manual_seed(0)
    actor, objective = GaussianActor(1, 1, 8, 1, init_log_std=0.0), EntropyRegularised(temperature=0.5)
    objective.log_temperature.requires_grad_(False)
    wide = Bounds(torch.tensor([-100.0]), torch.tensor([100.0]))
    optimizer = torch.optim.Adam(actor.parameters(), 1e-2)
    obs = Obs(state=torch.zeros(512, 1))
    for _ in range(600):
        optimizer.zero_grad()
        noise = torch.randn(512, 1)
        loss, _ = objective.loss(actor, actor, obs, noise, lambda _, a: -2 * a[:, 0] ** 2, wide, 0)
        loss.backward()
        optimizer.step()
    assert actor.log_std.exp().square().item() == pytest.approx(0.5 / 4, rel=0.1)
    assert actor.mode(obs)[0].item() == pytest.approx(0, abs=0.05)
