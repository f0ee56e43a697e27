import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Independent, Normal

from rlft.advantage import GAE
from rlft.networks import GaussianActor, ValueCritic
from rlft.types import AdvantageEstimate
from rlft.update import PPO
from rlft.update.ppo import normalize
from tests.support.hand_made import ConstantActor, batch_without_obs, gaussian_log_prob, random_batch


def one_transition(advantage, ratio):
    """An actor and a transition whose probability it has multiplied by `ratio`."""
    actor = ConstantActor([0.0])
    actor.action = torch.nn.Parameter(actor.action)  # the mean, to see its gradient
    action = torch.tensor([[0.7]])
    log_prob = gaussian_log_prob(action, actor.action, actor.log_std).detach() - math.log(ratio)
    return actor, batch_without_obs(action, torch.tensor([advantage]), log_prob)


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "learns"),
    [
        (1.0, 1.5, -1.2, False),  # already more likely than the clip allows
        (-1.0, 1.5, 1.5, True),  # made more likely by mistake: unclipped
        (-1.0, 0.5, 0.8, False),
        (1.0, 0.5, -0.5, True),
        (1.0, 1.1, -1.1, True),
    ],
)
def test_clipping(advantage, ratio, loss, learns):
    actor, batch = one_transition(advantage, ratio)
    got, metrics = PPO(norm_adv=False).actor_loss(actor, batch)
    got.backward()
    assert got.item() == pytest.approx(loss, rel=1e-5)
    assert bool(actor.action.grad.abs() > 1e-6) == learns
    assert bool(actor.log_std.grad.abs() > 1e-6) == learns
    assert metrics["losses/clipfrac"].item() == float(abs(ratio - 1) > 0.2)
    assert metrics["losses/approx_kl"].item() == pytest.approx(ratio - 1 - math.log(ratio), abs=1e-5)


@pytest.mark.parametrize("mu", [0.1, 0.5])
def test_approximate_kl_of_unit_gaussians_is_half_the_squared_shift(mu):
    actor = ConstantActor([mu], log_std=0.0)
    action = torch.randn(100_000, 1, generator=torch.Generator().manual_seed(1))  # from the old policy, N(0, 1)
    old = gaussian_log_prob(action, torch.zeros(1), torch.zeros(1))
    _, metrics = PPO().actor_loss(actor, batch_without_obs(action, torch.zeros(len(action)), old))
    assert metrics["losses/approx_kl"].item() == pytest.approx(mu**2 / 2, rel=0.03)  # sampling error is 0.5%


def test_the_policy_that_acted_has_ratio_one():
    actor = GaussianActor(6, 2, 32)
    batch = random_batch(64, 6, 2)
    log_prob = gaussian_log_prob(batch.action, actor(batch.obs), actor.log_std).detach()
    batch = replace(batch, log_prob=log_prob)
    loss, metrics = PPO(norm_adv=False).actor_loss(actor, batch)
    assert loss.item() == pytest.approx(-batch.signal.mean().item(), abs=1e-6)  # every ratio is 1
    assert metrics["losses/approx_kl"] == 0
    assert metrics["losses/clipfrac"] == 0


def reference_loss(actor, critic, batch, clip, ent, vf, *, norm_adv, clip_vloss):
    """The sum of PPO's three losses, written from the paper one transition at a time."""
    n = len(batch.signal)
    advantage = batch.signal.tolist()
    if norm_adv:
        mean = sum(advantage) / n
        std = math.sqrt(sum((a - mean) ** 2 for a in advantage) / (n - 1))
        advantage = [(a - mean) / (std + 1e-8) for a in advantage]
    surrogate, entropy, value_loss = [], [], []
    for i in range(n):
        policy = Independent(Normal(actor(batch.obs[i]), actor.log_std.exp()), 1)
        ratio = (policy.log_prob(batch.action[i]) - batch.log_prob[i]).exp()
        surrogate.append(torch.min(ratio * advantage[i], ratio.clip(1 - clip, 1 + clip) * advantage[i]))
        entropy.append(policy.entropy())
        value = critic(batch.obs[i])
        errors = [(value - batch.value_target[i]) ** 2]
        if clip_vloss:
            near = batch.value[i] + torch.clip(value - batch.value[i], -clip, clip)
            errors.append((near - batch.value_target[i]) ** 2)
        value_loss.append(0.5 * max(errors))
    return -sum(surrogate) / n - ent * sum(entropy) / n + vf * sum(value_loss) / n


@pytest.mark.parametrize("norm_adv", [False, True])
@pytest.mark.parametrize("clip_vloss", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradients_equal_the_reference(norm_adv, clip_vloss, seed):
    torch.manual_seed(seed)
    actor, critic = GaussianActor(6, 3, 16, 2), ValueCritic(6, 16, 2)
    batch = random_batch(50, 6, 3, seed, log_prob_of=actor)
    parameters = [*actor.parameters(), *critic.parameters()]
    actor_loss, metrics = PPO(clip_coef=0.2, ent_coef=0.01, norm_adv=norm_adv).actor_loss(actor, batch)
    critic_loss, _ = GAE(vf_coef=0.7, clip_vloss=clip_vloss, vf_clip_coef=0.2).critic_loss(critic, batch)
    loss = actor_loss + critic_loss
    expected = reference_loss(actor, critic, batch, 0.2, 0.01, 0.7, norm_adv=norm_adv, clip_vloss=clip_vloss)
    assert 0.1 < metrics["losses/clipfrac"] < 0.9  # both sides of the clip are exercised
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for got, want in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        assert torch.allclose(got, want, atol=1e-5)


def test_normalisation_has_unit_standard_deviation_and_survives_degenerate_minibatches():
    # mean 3, standard deviation with ddof 1 is 2
    assert normalize(torch.tensor([1.0, 3.0, 5.0])).tolist() == pytest.approx([-1.0, 0.0, 1.0])
    for constant in (3.0, 0.1, -0.0799):  # the mean of 800 times 0.1 is another number
        assert (normalize(torch.full((800,), constant)) == 0).all()
    assert normalize(torch.tensor([3.0])).tolist() == [0.0]


@pytest.mark.parametrize(("target_kl", "kl", "stops"), [(0.1, 0.11, True), (0.1, 0.09, False), (None, 1e9, False)])
def test_kl_stop(target_kl, kl, stops):
    assert PPO(target_kl=target_kl).exceeds_target_kl({"losses/approx_kl": torch.tensor(kl)}) is stops


def test_signal_is_the_raw_advantage():
    advantage = torch.randn(3, 4)
    assert torch.equal(
        PPO().signal(AdvantageEstimate(advantage, advantage, advantage, advantage > 0, {}))[0], advantage
    )
