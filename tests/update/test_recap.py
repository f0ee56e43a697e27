import math

import pytest
import torch

from rlft.errors import UserError
from rlft.types import Obs
from rlft.update import AWR, RECAP
from tests.support.hand_made import (
    BiasActor,
    batch_without_obs,
    estimate_of,
    gaussian_log_prob,
    is_sentence,
    same,
    weights_of,
)

BOUNDS = ["margin", "ppo", "kl", "none"]


def two_groups(spread=0.0):
    """Actions around +1 with positive and around -1 with negative weight; taken by N(0, 1)."""
    offsets = torch.tensor([-spread, 0.0, spread])
    action = torch.cat([1 + offsets, -1 + offsets])
    log_prob = gaussian_log_prob(action[:, None], torch.zeros(1), torch.zeros(1))
    return batch_without_obs(action, torch.tensor([1.0] * 3 + [-1.0] * 3), log_prob)


def gradient_of(update, actor, batch):
    loss, _ = update.actor_loss(actor, batch)
    return torch.autograd.grad(loss, actor.bias)[0].item()


def descend(update, batch, steps, learning_rate=0.05):
    """The mean after so many steps of plain gradient descent with a fixed standard deviation of 1."""
    actor = BiasActor([0.0])
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(update.actor_loss(actor, batch)[0], actor.bias)
        actor.bias.data -= learning_rate * gradient
    return actor.bias.item()


# ---- weights -----------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    # magnitudes min(exp(|A|), 5): e, e^0.5, 1, e, 5; the sign is the group's, A = 0 belongs to the negative one
    update = RECAP(beta=1.0, max_weight=5.0, norm_adv=False)
    signal, metrics = update.signal(estimate_of([-1.0, 0.5, 0.0, 1.0, -9.0]))
    weights = [-math.e, math.e**0.5, -1.0, math.e, -5.0]
    assert signal[:, 0].tolist() == pytest.approx(weights, rel=1e-6)
    assert metrics["charts/pos_ratio"] == pytest.approx(0.4)
    share = sum(abs(w) for w in weights) ** 2 / (5 * sum(w**2 for w in weights))
    assert metrics["charts/effective_sample_size"] == pytest.approx(share, rel=1e-6)


def test_signs_and_weights_are_those_after_centring_over_the_mask():
    # 1, 3, 5: A_n = -1, 0, 1
    estimate = estimate_of([1.0, math.nan, 3.0, -1000.0, 5.0], [True, False, True, False, True])
    signal, metrics = RECAP(beta=1.0).signal(estimate)
    assert signal[estimate.mask].tolist() == pytest.approx([-math.e, -1.0, math.e], rel=1e-6)
    assert metrics["charts/pos_ratio"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_equal_advantages_teach_nothing(value):
    signal, _ = RECAP().signal(estimate_of([value] * 6))
    actor = BiasActor([0.3])
    assert not signal.any()
    assert gradient_of(RECAP(), actor, batch_without_obs(torch.ones(6), signal[:, 0])) == 0


def test_nothing_known_yields_no_error():
    RECAP().signal(estimate_of([1.0, 2.0], [False, False]))


# ---- loss --------------------------------------------------------------------------------------------------------


def test_loss_by_hand():
    # log pi of N(0, 1) at a is -a^2/2 - k, k = log sqrt(2 pi). Weighted group means of a^2/2:
    # P: (2*0.5 + 6*2)/8 = 1.625, N: (1*0.125 + 3*4.5)/4 = 3.40625; loss 1.625 + k + 0.7 (-3.40625 - k)
    action = torch.tensor([1.0, 2.0, 0.5, 3.0])
    batch = batch_without_obs(action, torch.tensor([2.0, 6.0, -1.0, -3.0]))
    loss, metrics = RECAP(alpha=0.7, neg_bound="none").actor_loss(BiasActor([0.0]), batch)
    k = 0.5 * math.log(2 * math.pi)
    assert metrics["losses/positive_loss"].item() == pytest.approx(1.625 + k, rel=1e-5)
    assert metrics["losses/negative_loss"].item() == pytest.approx(-3.40625 - k, rel=1e-5)
    assert loss.item() == pytest.approx(1.625 + k - 0.7 * (3.40625 + k), rel=1e-5)
    assert metrics["losses/negative_log_prob"].item() == pytest.approx(-(0.125 + 4.5) / 2 - k, rel=1e-5)


@pytest.mark.parametrize("neg_bound", ["margin", "ppo", "none"])
def test_without_negative_term_it_is_awr_on_the_positive_group(neg_bound):
    generator = torch.Generator().manual_seed(0)
    action, advantage = torch.randn(2, 40, generator=generator)
    signal, _ = RECAP(norm_adv=False).signal(estimate_of(advantage))
    weights, _ = AWR(norm_adv=False).signal(estimate_of(advantage))
    positive, actor = advantage > 0, BiasActor([0.2])
    ours, _ = RECAP(alpha=0.0, neg_bound=neg_bound).actor_loss(actor, batch_without_obs(action, signal[:, 0]))
    awr, _ = AWR().actor_loss(actor, batch_without_obs(action[positive], weights[positive, 0]))
    assert ours.item() == pytest.approx(awr.item(), rel=1e-5)
    parameters = [actor.bias, actor.log_std]
    for got, want in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(awr, parameters), strict=True):
        assert torch.allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("neg_bound", BOUNDS)
def test_a_minibatch_with_one_group_only(sign, neg_bound):
    update, actor = RECAP(neg_bound=neg_bound), BiasActor([0.0])
    old = gaussian_log_prob(torch.ones(3, 1), torch.zeros(1), torch.zeros(1))  # the old policy is the actor
    batch = batch_without_obs(torch.ones(3), torch.full((3,), sign), old)
    # -d log pi / d mu at a = 1, mu = 0 is -1; for ppo the factor is the ratio, 1; KL has no gradient there
    assert gradient_of(update, actor, batch) == pytest.approx(-sign, rel=1e-5)


def test_unbounded_the_minimum_for_alpha_one_half_is_at_three():
    # mu* = (1 - 0.5 (-1)) / (1 - 0.5) = 3
    update, batch = RECAP(alpha=0.5, neg_bound="none"), two_groups(spread=0.4)
    assert gradient_of(update, BiasActor([3.0]), batch) == pytest.approx(0, abs=1e-5)
    assert descend(update, batch, 1000) == pytest.approx(3.0, abs=1e-3)


# ---- the bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_unbounded_it_diverges(alpha):
    # alpha = 1: a constant gradient of -2. alpha = 2: d mu = (mu + 3) dt, exponential.
    far = descend(RECAP(alpha=alpha, neg_bound="none"), two_groups(), 1000)
    assert not abs(far) < 90


def test_the_margin_keeps_the_iterates_finite():
    # The negative actions' log pi_old is that of distance 1, less c = 2: distance d with d^2/2 = 0.5 + 2, d = 2.236.
    # Beyond mu = 1.236 only the positive group pulls, towards 1: the iterates stay between the two.
    mean = descend(RECAP(alpha=2.0, margin=2.0), two_groups(), 5000)
    assert mean == pytest.approx(math.sqrt(5) - 1, abs=0.4)  # one step of the largest gradient, 0.05 * 7
    assert mean > 0.99


@pytest.mark.parametrize(("below", "pushes"), [(1.999, True), (2.001, False)])
def test_below_the_margin_the_push_is_exactly_zero(below, pushes):
    actor, action = BiasActor([0.0]), torch.tensor([0.7])
    old = gaussian_log_prob(action[:, None], actor(Obs(torch.zeros(1, 1))), actor.log_std).detach() + below
    gradient = gradient_of(RECAP(margin=2.0), actor, batch_without_obs(action, torch.tensor([-1.0]), old))
    assert gradient == (pytest.approx(0.7) if pushes else 0)


@pytest.mark.parametrize(("ratio", "gradient"), [(0.79, 0.0), (0.81, 0.81 * 0.7), (1.5, 1.5 * 0.7)])
def test_the_clipped_ratio(ratio, gradient):
    actor, action = BiasActor([0.0]), torch.tensor([0.7])  # d ratio / d mu = ratio (a - mu)
    old = gaussian_log_prob(action[:, None], actor(Obs(torch.zeros(1, 1))), actor.log_std).detach() - math.log(ratio)
    batch = batch_without_obs(action, torch.tensor([-1.0]), old)
    assert gradient_of(RECAP(neg_bound="ppo", clip_coef=0.2), actor, batch) == pytest.approx(gradient, rel=1e-4)


def test_the_kl_penalty_bounds_the_mean_if_it_is_strong_enough():
    # Far away the ratios are 0, which leaves log pi with coefficients 1 - alpha + kl_coef: quadratic, upwards if > 0.
    batch = two_groups()
    strong, weak = (descend(RECAP(alpha=2.0, neg_bound="kl", kl_coef=k), batch, 1000) for k in (1.5, 0.5))
    # strong: minimum of -(log pi(1)) + 2 log pi(-1) + 1.5 KL; with ratios 0 at (1 + 2 + 0) / (1 - 2 + 1.5) = 6
    assert strong == pytest.approx(6.0, abs=0.1)
    assert not abs(weak) < 100


def test_the_kl_penalty_is_an_estimate_of_the_kl():
    # No push and no pull: what is left is kl_coef KL(N(0, 1) || N(0.5, 1)) = kl_coef 0.125
    action = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    old = gaussian_log_prob(action[:, None], torch.zeros(1), torch.zeros(1))
    batch = batch_without_obs(action, torch.zeros(100_000), old)
    update, actor = RECAP(neg_bound="kl", kl_coef=3.0), BiasActor([0.5])
    assert update.actor_loss(actor, batch)[0].item() == pytest.approx(0.375, rel=0.03)
    assert gradient_of(update, actor, batch) == pytest.approx(1.5, rel=0.05)  # kl_coef mu
    assert gradient_of(update, BiasActor([0.0]), batch) == 0


@torch.no_grad()
def test_the_log_std_has_exact_bounds():
    actor = BiasActor([0.0, 0.0, 0.0])
    actor.log_std.copy_(torch.tensor([-3.7, 0.25, 0.9]))
    before = weights_of(actor)
    RECAP(log_std_min=None, log_std_max=None).project(actor)
    RECAP(train_log_std=False).project(actor)
    assert same(before, weights_of(actor))
    RECAP().project(actor)
    assert actor.log_std.tolist() == [-3.0, 0.25, 0.5]


@pytest.mark.parametrize(
    "option",
    [
        {"alpha": -0.1},
        {"alpha": math.nan},
        {"beta": 0.0},
        {"max_weight": -1.0},
        {"margin": -2.0},
        {"kl_coef": -1.0},
        {"clip_coef": 1.0},
        {"log_std_min": 1.0},
    ],
    ids=str,
)
def test_impossible_options(option):
    with pytest.raises(UserError, match=f"model.update.{next(iter(option))} is ") as refused:
        RECAP(**option)
    assert is_sentence(str(refused.value))
