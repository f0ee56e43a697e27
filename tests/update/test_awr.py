import math
from dataclasses import replace

import pytest
import torch

from rlft.errors import UserError
from rlft.networks import GaussianActor
from rlft.update import AWR
from tests.support.hand_made import (
    BiasActor,
    batch_without_obs,
    estimate_of,
    gaussian_log_prob,
    is_sentence,
    random_batch,
    same,
    weights_of,
)


def standard_normal(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def weights(advantage, **options):
    return AWR(**options).signal(estimate_of(advantage))[0]


# ---- weights -----------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    # exp(A / 0.5) = e^-2, 1, e^1.9 = 6.686; e^2 = 7.389 and e^200 are cut to 7
    got = weights([-1.0, 0.0, 0.95, 1.0, 100.0], beta=0.5, max_weight=7.0, norm_adv=False)
    assert got[:, 0].tolist() == pytest.approx([0.135335, 1.0, 6.685894, 7.0, 7.0], rel=1e-5)


def test_advantages_are_normalised_over_the_mask():
    # 1, 3, 5 have mean 3 and standard deviation 2 (ddof 1): A_n = -1, 0, 1
    estimate = estimate_of([1.0, math.nan, 3.0, 1000.0, 5.0], [True, False, True, False, True])
    got, metrics = AWR(beta=1.0).signal(estimate)
    e = math.e
    assert got[estimate.mask].tolist() == pytest.approx([1 / e, 1.0, e], rel=1e-5)
    assert metrics["charts/weight_mean"] == pytest.approx((1 / e + 1 + e) / 3, rel=1e-5)
    share = (1 / e + 1 + e) ** 2 / (3 * (e**-2 + 1 + e**2))
    assert metrics["charts/effective_sample_size"] == pytest.approx(share, rel=1e-5)
    assert metrics["charts/weight_clip_fraction"] == 0


@pytest.mark.parametrize(("a", "b"), [(3.0, 0.0), (1e-3, 5.0), (100.0, -7.0)])
def test_weights_are_invariant_under_affine_maps_of_the_advantages(a, b):
    advantage = standard_normal((50, 4))
    assert torch.allclose(weights(a * advantage + b), weights(advantage), rtol=1e-2 if a < 1 else 1e-4)
    assert not torch.allclose(weights(a * advantage + b, norm_adv=False), weights(advantage, norm_adv=False), rtol=0.1)


@pytest.mark.parametrize(
    ("beta", "mean", "effective", "clipped"),
    # With u = b ln 20 and A_n ~ N(0, 1): E w = e^(1/2b^2) Phi(u - 1/b) + 20 (1 - Phi(u)),
    # E w^2 = e^(2/b^2) Phi(u - 2/b) + 400 (1 - Phi(u)); ESS / N = (E w)^2 / E w^2; clipped 1 - Phi(u).
    [
        (0.1, 8.423, 0.442, 0.382),
        (0.3, 5.616, 0.344, 0.184),
        (0.5, 3.616, 0.289, 0.067),
        (1.0, 1.638, 0.397, 0.0014),
        (2.0, 1.133, 0.779, 0.0),
    ],
)
def test_metrics_of_standard_normal_advantages(beta, mean, effective, clipped):
    _, metrics = AWR(beta=beta).signal(estimate_of(standard_normal(400_000)))
    assert metrics["charts/weight_mean"] == pytest.approx(mean, rel=0.02)
    assert metrics["charts/effective_sample_size"] == pytest.approx(effective, rel=0.02)
    assert metrics["charts/weight_clip_fraction"] == pytest.approx(clipped, rel=0.02, abs=2e-4)


@pytest.mark.parametrize("norm_adv", [False, True])
@pytest.mark.parametrize("max_weight", [20.0, math.inf])
@pytest.mark.parametrize("advantage", [[0.1] * 7, [-1e6] * 7, [1e30, -1e30, 0.0], [0.3]], ids=str)
def test_weights_and_gradients_are_finite_whatever_the_advantages(advantage, norm_adv, max_weight):
    update = AWR(beta=0.01, max_weight=max_weight, norm_adv=norm_adv)
    signal, metrics = update.signal(estimate_of(advantage))
    assert all(math.isfinite(value) for value in metrics.values())
    actor = BiasActor([0.5])
    loss, _ = update.actor_loss(actor, batch_without_obs(torch.ones(len(advantage)), signal[:, 0]))
    loss.backward()
    assert loss.isfinite()
    assert actor.bias.grad.isfinite().all()
    assert actor.bias.grad != 0


def test_equal_advantages_have_weight_one():
    assert weights([0.1] * 7).tolist() == [[1.0]] * 7


def test_nothing_known_yields_no_error():
    AWR().signal(estimate_of([1.0, 2.0], [False, False]))


# ---- loss --------------------------------------------------------------------------------------------------------


def gradients(actor, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(actor.parameters()))])


def test_loss_and_gradients_equal_the_reference():
    actor, batch = GaussianActor(6, 3, 16, 2), random_batch(50, 6, 3)
    signal = batch.signal.exp()
    batch = replace(batch, signal=signal)
    normal = torch.distributions.Normal(actor(batch.obs), actor.log_std.exp())
    terms = [w * 50 / signal.sum() * lp for w, lp in zip(signal, normal.log_prob(batch.action).sum(-1), strict=True)]
    expected = -sum(terms) / 50
    loss, _ = AWR().actor_loss(actor, batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(gradients(actor, loss), gradients(actor, expected), atol=1e-5)


def test_without_temperature_it_is_behaviour_cloning():
    actor, batch = GaussianActor(6, 3, 16, 2), random_batch(50, 6, 3)
    signal, _ = AWR(beta=1e9).signal(estimate_of(batch.signal))
    loss, _ = AWR().actor_loss(actor, replace(batch, signal=signal[:, 0]))
    cloning = -gaussian_log_prob(batch.action, actor(batch.obs), actor.log_std).mean()
    assert torch.allclose(gradients(actor, loss), gradients(actor, cloning), atol=1e-5)


def test_the_scale_of_the_weights_does_not_matter():
    actor, batch = BiasActor([0.0]), batch_without_obs(standard_normal(20), standard_normal(20, 1).exp())
    scaled = batch_without_obs(batch.action, 1000 * batch.signal)
    first, second = (AWR().actor_loss(actor, b)[0] for b in (batch, scaled))
    assert torch.allclose(gradients(actor, first), gradients(actor, second), rtol=1e-4)


def test_the_minimum_is_the_weighted_mean_and_variance():
    # weights 1, 3: mean (0 + 3*2)/4 = 1.5, variance (1*1.5^2 + 3*0.5^2)/4 = 0.75
    batch = batch_without_obs(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0]))
    at_minimum = BiasActor([1.5], 0.5 * math.log(0.75))
    assert gradients(at_minimum, AWR().actor_loss(at_minimum, batch)[0]).tolist() == pytest.approx([0, 0], abs=1e-6)
    elsewhere = BiasActor([1.0], 0.5 * math.log(0.75))  # d/d mu = (mu - 1.5) / 0.75
    assert gradients(elsewhere, AWR().actor_loss(elsewhere, batch)[0])[1].item() == pytest.approx(-2 / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("beta", "max_weight", "shift"),
    # Actions a = m + s x, x ~ N(0, 1), and A = c a: A_n = x. The mean moves by s E[w x] / E w, and by Stein's lemma
    # E[w x] = E dw/dx = e^(1/2b^2) Phi(u - 1/b) / b with u = b ln 20: 0.983 and 1.258; 1/b if nothing is cut.
    [(2.0, math.inf, 0.5), (1.0, 20.0, 0.983), (0.5, 20.0, 1.258)],
)
@pytest.mark.parametrize("c", [0.1, 30.0])
def test_a_linear_advantage_moves_the_mean_by_so_many_standard_deviations(beta, max_weight, shift, c):
    x = standard_normal(100_000, 3)
    signal = weights(c * (4.0 + 0.3 * x), beta=beta, max_weight=max_weight)[:, 0]
    actor = BiasActor([4.0 + 0.3 * shift])
    batch = batch_without_obs(4.0 + 0.3 * x, signal)
    # With unit variance the gradient is mu minus the place of the minimum.
    loss, _ = AWR(train_log_std=False).actor_loss(actor, batch)
    assert torch.autograd.grad(loss, actor.bias)[0].item() / 0.3 == pytest.approx(0, abs=0.02)


def test_two_actions_with_advantages_of_one_become_e_squared_apart():
    # pi ~ mu exp(A / beta): weights e and 1/e on actions the behaviour took equally often
    signal = weights([1.0, -1.0], beta=1.0, norm_adv=False)[:, 0]
    logits = torch.zeros(2, requires_grad=True)
    for _ in range(100):
        loss = -(signal * 2 / signal.sum() * logits.log_softmax(0)).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits.data -= 2 * gradient
    assert (logits[0] - logits[1]).exp().item() == pytest.approx(math.e**2, rel=1e-3)


# ---- bounds ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_log_std_has_an_exact_floor():
    actor = BiasActor([0.0, 0.0])
    actor.log_std.copy_(torch.tensor([-3.7, -2.9]))
    AWR(log_std_min=None).project(actor)
    assert actor.log_std.tolist() == pytest.approx([-3.7, -2.9])
    AWR().project(actor)
    assert actor.log_std[0] == -3
    assert actor.log_std[1].item() == pytest.approx(-2.9)


def test_an_untrained_log_std_stays_as_it_is():
    actor = BiasActor([0.0], log_std=-5.0)
    before = weights_of(actor)
    update = AWR(train_log_std=False)
    assert update.adapt(actor) is actor
    update.actor_loss(actor, batch_without_obs(torch.ones(3), torch.ones(3)))[0].backward()
    assert actor.log_std.grad is None
    assert actor.bias.grad is not None
    update.project(actor)
    AWR().project(actor)  # what takes no gradient, as FreezeSchedule and `adapt` see to, stays
    assert same(before, weights_of(actor))


@pytest.mark.parametrize(("target_kl", "kl", "stops"), [(0.1, 0.11, True), (0.1, 0.09, False), (None, 1e9, False)])
def test_kl_stop(target_kl, kl, stops):
    assert AWR(target_kl=target_kl).exceeds_target_kl({"losses/approx_kl": torch.tensor(kl)}) is stops


def test_approximate_kl_of_unit_gaussians_is_half_the_squared_shift():
    action = standard_normal(100_000)
    old = gaussian_log_prob(action[:, None], torch.zeros(1), torch.zeros(1))
    _, metrics = AWR().actor_loss(BiasActor([0.5]), batch_without_obs(action, torch.ones_like(action), old))
    assert metrics["losses/approx_kl"].item() == pytest.approx(0.125, rel=0.03)
    assert metrics["losses/entropy"].item() == pytest.approx(0.5 * math.log(2 * math.pi * math.e), rel=1e-5)


@pytest.mark.parametrize("option", [{"beta": 0.0}, {"beta": -1.0}, {"beta": math.nan}, {"max_weight": 0.0}], ids=str)
def test_impossible_options(option):
    with pytest.raises(UserError, match=f"model.update.{next(iter(option))} is ") as refused:
        AWR(**option)
    assert is_sentence(str(refused.value))
