import math
from dataclasses import replace

import pytest
import torch

from rlft.errors import UserError
from rlft.networks import ConditionedActor, GaussianActor
from rlft.networks.conditioned_actor import NEGATIVE, NULL, POSITIVE
from rlft.types import Obs
from rlft.update import ConditionedRECAP
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


def indicator_batch(size=50, seed=0):
    batch = random_batch(size, 6, 3, seed)
    return replace(batch, signal=(batch.signal > 0.5).float())


def unlike_conditions(guidance=1.0, seed=0):
    """An actor whose conditions act differently."""
    actor = ConditionedActor(GaussianActor(6, 3, 16, 2), guidance)
    torch.nn.init.normal_(actor.embedding, generator=torch.Generator().manual_seed(seed))
    torch.nn.init.normal_(actor.action_head[-1].weight, generator=torch.Generator().manual_seed(seed))
    return actor


# ---- the indicator -----------------------------------------------------------------------------------------------


def test_the_indicator_by_hand():
    # 40% of the 5 known advantages 1..5 are positive: 4 and 5
    advantage, mask = [4.0, 99.0, 1.0, 5.0, 3.0, math.nan, 2.0], [True, False, True, True, True, False, True]
    signal, metrics = ConditionedRECAP(positive_ratio=0.4).signal(estimate_of(advantage, mask))
    assert signal[torch.tensor(mask), 0].tolist() == [POSITIVE, NEGATIVE, POSITIVE, NEGATIVE, NEGATIVE]
    assert metrics == {"charts/pos_ratio": pytest.approx(0.4)}


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.5, 0.93])
@pytest.mark.parametrize("size", [7, 10, 1001])
def test_the_positive_share_is_the_quantile(ratio, size):
    advantage = torch.randn(size, generator=torch.Generator().manual_seed(size))
    signal, metrics = ConditionedRECAP(positive_ratio=ratio).signal(estimate_of(advantage))
    assert abs(metrics["charts/pos_ratio"] - ratio) <= 1 / size
    positive = signal[:, 0] == POSITIVE
    assert not positive.any() or advantage[positive].min() > advantage[~positive].max()


@pytest.mark.parametrize(
    ("advantage", "positive"),
    # The threshold at 30% of ten is the 7th smallest; only what is above it counts.
    [
        ([0.0] * 9 + [1.0], 1),  # one success among failures: fewer than 30%
        ([-1.0] + [0.0] * 7 + [1.0] * 2, 2),  # the threshold is within the tie
        ([-1.0] * 6 + [0.0] * 4, 0),  # more than 30% share the maximum
        ([0.1] * 10, 0),
        ([0.1], 0),
    ],
)
def test_ties_with_the_threshold_are_negative(advantage, positive):
    signal, metrics = ConditionedRECAP().signal(estimate_of(advantage))
    assert signal.sum() == positive
    assert metrics["charts/pos_ratio"] == pytest.approx(positive / len(advantage))


def test_nothing_known_yields_no_error():
    ConditionedRECAP().signal(estimate_of([1.0, 2.0], [False, False]))


# ---- the actor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_the_adapted_actor_acts_the_same_bit_for_bit(guidance):
    actor, obs = GaussianActor(6, 3, 16, 2, init_log_std=-1.3), Obs(torch.randn(100, 6))
    before = torch.get_rng_state()
    adapted = ConditionedRECAP(guidance=guidance).adapt(actor)
    assert torch.equal(torch.get_rng_state(), before)  # the critic's initial weights stay those of other updates
    assert torch.equal(adapted(obs), actor(obs))
    assert torch.equal(adapted.log_std, actor.log_std)
    adapted.encoder[0].weight.data.zero_()
    assert not torch.equal(adapted(obs), actor(obs))  # the start actor keeps its own weights


def test_a_conditioned_actor_is_kept_and_gets_the_guidance():
    actor = unlike_conditions()
    before = weights_of(actor)
    assert ConditionedRECAP(guidance=3.0).adapt(actor) is actor
    assert actor.guidance == 3
    assert same(before, weights_of(actor))


def test_an_actor_that_cannot_be_conditioned():
    with pytest.raises(UserError, match="BiasActor") as refused:
        ConditionedRECAP().adapt(BiasActor([0.0]))
    assert is_sentence(str(refused.value))


# ---- loss --------------------------------------------------------------------------------------------------------


def test_loss_and_gradients_equal_the_reference():
    actor, batch, p = unlike_conditions(guidance=1.7), indicator_batch(), 0.25
    terms = []
    for obs, action, indicator in zip(batch.obs.state, batch.action, batch.signal, strict=True):
        for condition, weight in ((POSITIVE if indicator else NEGATIVE, 1 - p), (NULL, p)):
            mean = actor.conditional(Obs(obs[None]), torch.tensor([condition]))[0]
            normal = torch.distributions.Normal(mean, actor.log_std.exp())
            terms.append(-weight * normal.log_prob(action).sum())
    expected = sum(terms) / len(batch)
    loss, _ = ConditionedRECAP(null_probability=p, guidance=1.7).actor_loss(actor, batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    parameters = list(actor.parameters())
    assert len(parameters) == 2 * 3 + 2  # three layers, log_std, embedding
    for got, want in zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True):
        assert torch.allclose(got, want, atol=1e-5)


def test_the_loss_is_the_expectation_over_dropping_the_indicator():
    actor, batch = unlike_conditions(), indicator_batch(20_000)
    indicator = batch.signal.long()
    dropped = torch.rand(len(batch), generator=torch.Generator().manual_seed(1)) < 0.3
    mean = actor.conditional(batch.obs, indicator.masked_fill(dropped, NULL))
    sampled = -gaussian_log_prob(batch.action, mean, actor.log_std).mean()
    loss, _ = ConditionedRECAP(null_probability=0.3).actor_loss(actor, batch)
    assert loss.item() == pytest.approx(sampled.item(), rel=0.02)


def test_metrics():
    actor, batch = unlike_conditions(guidance=2.0), indicator_batch()
    _, metrics = ConditionedRECAP().actor_loss(actor, batch)
    gap = 2 * (actor.conditional(batch.obs, POSITIVE) - actor.conditional(batch.obs, NULL)) / actor.log_std.exp()
    assert metrics["losses/condition_gap"].item() == pytest.approx(gap.pow(2).mean().sqrt().item(), rel=1e-4)
    new = gaussian_log_prob(batch.action, actor(batch.obs), actor.log_std) - batch.log_prob
    assert metrics["losses/approx_kl"].item() == pytest.approx((new.exp() - 1 - new).mean().item(), rel=1e-4)
    unconditioned = ConditionedActor(GaussianActor(6, 3, 16, 2))
    assert ConditionedRECAP().actor_loss(unconditioned, batch)[1]["losses/condition_gap"] == 0


def test_the_fitted_conditions_are_the_conditional_distributions():
    # a ~ N(0, 1), A = a, the best 30% are those above q = Phi^-1(0.7) = 0.5244, where the density is 0.3477.
    # Bayes: pi(a | I) = pi(a) p(I | a) / p(I), a normal cut off at q: means 0.3477 / 0.3 and -0.3477 / 0.7.
    action = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(2000) + 0.5) / 2000)  # [B], an exact sample
    update = ConditionedRECAP(train_log_std=False, guidance=2.0)
    signal, _ = update.signal(estimate_of(action))
    batch = batch_without_obs(action, signal[:, 0])
    torch.manual_seed(0)
    actor = update.adapt(GaussianActor(1, 1, 16, 1, init_log_std=0.0))
    optimizer = torch.optim.Adam(actor.parameters(), 0.03)
    for _ in range(400):
        optimizer.zero_grad()
        update.actor_loss(actor, batch)[0].backward()
        optimizer.step()
    state = Obs(torch.zeros(1, 1))
    assert actor.conditional(state, POSITIVE).item() == pytest.approx(1.159, abs=0.02)
    assert actor.conditional(state, NEGATIVE).item() == pytest.approx(-0.497, abs=0.02)
    assert actor.conditional(state, NULL).item() == pytest.approx(0.0, abs=0.02)
    assert actor(state).item() == pytest.approx(2 * 1.159, abs=0.05)  # guidance 2 goes twice as far from null


# ---- bounds ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_log_std_has_an_exact_floor():
    actor = unlike_conditions()
    actor.log_std.copy_(torch.tensor([-3.7, 0.25, 2.0]))
    before = weights_of(actor)
    ConditionedRECAP(train_log_std=False).project(actor)
    ConditionedRECAP(log_std_min=None).project(actor)
    assert same(before, weights_of(actor))
    ConditionedRECAP().project(actor)
    assert actor.log_std.tolist() == [-3.0, 0.25, 2.0]


def test_an_untrained_log_std_takes_no_gradient():
    update = ConditionedRECAP(train_log_std=False)
    for start in (unlike_conditions(), GaussianActor(6, 3, 16, 2)):
        actor = update.adapt(start)
        update.actor_loss(actor, indicator_batch())[0].backward()
        assert actor.log_std.grad is None
    assert actor.embedding.grad.any(1).all()


@pytest.mark.parametrize(
    "option",
    [
        {"positive_ratio": 0.0},
        {"positive_ratio": 1.0},
        {"positive_ratio": math.nan},
        {"null_probability": -0.1},
        {"null_probability": 1.0},
        {"guidance": -1.0},
        {"guidance": math.inf},
        {"guidance": 2.0, "null_probability": 0.0},
    ],
    ids=str,
)
def test_impossible_options(option):
    with pytest.raises(UserError, match=f"model.update.{next(iter(option))} ") as refused:
        ConditionedRECAP(**option)
    assert is_sentence(str(refused.value))
