"""Behaviour cloning: losses and targets by hand, what learns, what is refused."""

import dataclasses
import math

import pytest
import torch

from rlft.callbacks import FreezeSchedule, WeightEMA
from rlft.callbacks.freeze_schedule import Freeze
from rlft.errors import UserError
from rlft.modules.offsets import actions_at
from rlft.networks import ConditionedActor, GaussianActor
from rlft.networks.policy_files import load_policy, save_policy
from rlft.types import CloningBatch, Obs
from tests.support.cloning import LOG_STD, cloner, demonstrations, demonstrator
from tests.support.hand_made import gaussian_log_prob, is_sentence, rollout_of, same, weights_of
from tests.support.training import MemoryLogger, data, fit

VALIDATION = "losses/validation_policy_loss"
NORMAL = 0.5 * math.log(2 * math.pi)  # -log of the density of a standard normal variable at 0


@pytest.fixture
def expert(tmp_path):
    return demonstrator(tmp_path)


def zeroed(**options):
    """A module whose mean actions are all 0 with standard deviation 1."""
    model = cloner(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def batch_of(*actions, known=None):
    """One step per argument, each a list of actions `[K, A]`."""
    action = torch.tensor(actions)
    known = torch.ones(action.shape[:2], dtype=torch.bool) if known is None else torch.tensor(known)
    return CloningBatch(Obs(torch.zeros(len(action), 6)), action, known)


def random_batch(offsets=1, size=50):
    return CloningBatch(Obs(torch.randn(size, 6)), torch.randn(size, offsets, 2), torch.ones(size, offsets).bool())


# ---- losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "expected"),
    # Errors (1, -2) and (0, 2): squares add up to 5 and 4. Gaussian: 1/2 of that and two normalisations each.
    [("gaussian", (2.5 + 2.0) / 2 + 2 * NORMAL), ("mse", (5 / 2 + 4 / 2) / 2)],
)
def test_losses_by_hand(loss, expected):
    model = zeroed(loss=loss)
    assert model.training_step(batch_of([[1.0, -2.0]], [[0.0, 2.0]])).item() == pytest.approx(expected)


def test_one_offset_is_the_likelihood_of_the_actors_own_actions():
    model, batch = cloner(offset_weights=(1.0,)), random_batch()
    normal = torch.distributions.Normal(model.actor(batch.obs), model.actor.log_std.exp())
    likelihood = normal.log_prob(batch.action[:, 0]).sum(-1).mean()
    assert model.training_step(batch).item() == pytest.approx(-likelihood.item(), rel=1e-6)


@pytest.mark.parametrize("scale", [1, 10])
def test_offsets_are_weighted_and_only_what_is_known_counts(scale):
    model = zeroed(loss="mse", offsets=(0, 1), offset_weights=(3.0 * scale, 1.0 * scale))
    batch = batch_of(
        [[1.0, 1.0], [2.0, 2.0]],
        [[3.0, 3.0], [50.0, 50.0]],
        known=[[True, True], [True, False]],
    )
    model.metrics.clear()
    total = model.training_step(batch)
    own, later = (1 + 9) / 2, 4
    assert total.item() == pytest.approx((3 * own + later) / 4)
    metrics = model.metrics.compute()
    assert metrics["losses/policy_loss"] == pytest.approx(own)
    assert metrics["losses/offset_1"] == pytest.approx(later)
    assert metrics["losses/total_loss"] == pytest.approx(total.item())


def test_a_minibatch_that_knows_nothing_of_an_offset_is_no_loss_of_it():
    model = zeroed(loss="mse", offsets=(0, 1))
    batch = batch_of([[1.0, 1.0], [9.0, 9.0]], known=[[True, False]])
    assert model.offset_losses(batch).tolist() == [1, 0]


def test_equal_weights_are_the_default():
    model, batch = cloner(offsets=(0, 1, -1)), random_batch(3)
    assert model.training_step(batch).item() == pytest.approx(model.offset_losses(batch).mean().item())


# ---- targets -----------------------------------------------------------------------------------------------------


def test_actions_end_with_their_episode_and_with_the_data():
    # Environment 0: an episode of 3 steps, then 2 of another. Environment 1: 2 steps to the time limit, then 3.
    terminated, truncated = torch.zeros(2, 5, 2, dtype=torch.bool)
    terminated[2, 0] = truncated[1, 1] = True
    rollout = rollout_of(torch.zeros(5, 2), torch.zeros(5, 2), torch.zeros(5, 2), terminated, truncated)
    number = torch.arange(5.0)[:, None] + torch.tensor([0.0, 10.0])  # [T, N], 10 n + t
    rollout = dataclasses.replace(rollout, action=number[..., None])
    action, known = actions_at(rollout, (-1, 0, 2))
    assert action.shape == (5, 2, 3, 1)
    found = torch.where(known, action[..., 0], torch.nan).permute(2, 1, 0)  # [K, N, T]
    x = torch.nan
    expected = [
        [[x, 0, 1, x, 3], [x, 10, x, 12, 13]],
        [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]],
        [[2, x, x, x, x], [x, x, 14, x, x]],
    ]
    assert torch.equal(found.nan_to_num(-1), torch.tensor(expected, dtype=torch.float32).nan_to_num(-1))


def test_the_order_of_offsets_is_that_of_the_heads():
    model = cloner(offsets=(1, 0))
    with torch.no_grad():
        model.heads["1"].action_head[-1].bias.fill_(7)
        model.heads["1"].log_std.fill_(-2)
    obs = Obs(torch.randn(4, 6))
    mean, log_std = model.heads.predict(model.actor, obs)
    assert torch.equal(mean[:, 1], model.actor(obs))
    assert (mean[:, 0] - mean[:, 1] > 6).all()
    assert log_std.tolist() == [[-2, -2], [-0.5, -0.5]]


def test_an_offset_that_no_episode_is_long_enough_for_is_refused(expert):
    with pytest.raises(UserError, match="offsets has 20,") as refused:
        fit(cloner(expert, offsets=(0, 20)), demonstrations(), 1)
    assert is_sentence(str(refused.value))


# ---- dropout -----------------------------------------------------------------------------------------------------


def test_without_dropout_the_prediction_is_the_actors_to_the_bit():
    model = cloner(encoder_dropout=0.5, head_dropout=0.5)
    fit(model, demonstrations(), 1)  # so that there is noise to drop with
    batch = random_batch()
    expected = -gaussian_log_prob(batch.action[:, 0], model.actor(batch.obs), model.actor.log_std).sum() / len(batch)
    assert model.offset_losses(batch) == expected
    assert not torch.allclose(model.training_step(batch), expected)


def test_dropout_is_on_the_features_and_within_every_head():
    model, seen = cloner(offsets=(0, 1)), []

    def dropout(hidden, share):
        seen.append((hidden, share))
        return torch.zeros_like(hidden)

    obs = Obs(torch.randn(5, 6))
    mean, _ = model.heads.predict(model.actor, obs, 0.2, 0.1, dropout)
    assert [share for _, share in seen] == [0.2, 0.1, 0.1]
    assert torch.equal(seen[0][0], model.actor.encoder(obs.state))
    assert torch.equal(mean[:, 0], model.actor.action_head[-1].bias.expand(5, -1))  # nothing else arrives


def test_dropout_keeps_the_expectation():
    model = cloner(encoder_dropout=0.2)
    fit(model, demonstrations(), 1)
    dropped = model._dropout(torch.ones(100_000), 0.2)
    assert sorted(dropped.unique().tolist()) == [0, 1.25]
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)


# ---- learning ----------------------------------------------------------------------------------------------------


def test_a_linear_demonstrator_is_cloned_up_to_its_noise(expert):
    logger, model = MemoryLogger(), cloner(expert, offsets=(0, 1), learning_rate=3e-3)
    fit(model, demonstrations(num_envs=64, validation_fraction=0.2), 60, logger=logger)
    teacher, held_out = load_policy(expert).actor, model.source.held_out
    action = held_out.action[:, 0]
    optimum = -gaussian_log_prob(action, teacher(held_out.obs), teacher.log_std).mean().item()
    assert optimum == pytest.approx(2 * (LOG_STD + 0.5 + NORMAL), abs=0.2)  # the entropy: the data are the teacher's
    losses = [value for _, value in logger.series(VALIDATION)]
    assert losses[0] > optimum + 0.5
    assert losses[-1] == pytest.approx(optimum, abs=0.1)
    assert model.actor.log_std.tolist() == pytest.approx([LOG_STD] * 2, abs=0.1)
    error = logger.series("losses/validation_mse")[-1][1]
    assert error == pytest.approx(((action - model.actor(held_out.obs)) ** 2).mean().item())
    assert error == pytest.approx(math.exp(2 * LOG_STD), rel=0.2)
    later = logger.series("losses/validation_offset_1")
    assert later[-1][1] < later[0][1] - 0.5


def test_squared_error_clones_the_mean_and_leaves_the_standard_deviation(expert):
    model = cloner(expert, loss="mse", offsets=(0, 1), learning_rate=3e-3, log_std_min=0.0)
    before = weights_of(model)
    fit(model, demonstrations(num_envs=64, validation_fraction=0.2), 30)
    wanted = load_policy(expert).actor(model.source.held_out.obs)
    assert (wanted - model.actor(model.source.held_out.obs)).abs().mean() < 0.2 * wanted.abs().mean()
    after = weights_of(model)
    assert not same(before, after, "heads.1.action_head")
    for name in ("actor.log_std", "heads.1.log_std"):
        assert torch.equal(before[name], after[name])


def test_demonstrations_count_as_data_once(expert):
    logger, model = MemoryLogger(), cloner(expert)
    fit(model, demonstrations(), 3, logger=logger)
    for name in ("steps/env", "steps/sim"):
        assert logger.series(name) == [(1, 320), (2, 320), (3, 320)]


def test_new_demonstrations_in_every_iteration_count_every_time(expert):
    logger, model = MemoryLogger(), cloner(expert)
    fit(model, data(), 2, logger=logger)
    assert logger.series("steps/env") == [(80, 80), (160, 160)]


def test_a_policy_does_not_imitate_itself_again_and_again():
    with pytest.raises(UserError, match="demonstrator is null") as refused:
        fit(cloner(), data(), 1)
    assert is_sentence(str(refused.value))


def test_deterministic_demonstrations_do_not_make_the_noise_vanish(tmp_path):
    model = cloner(demonstrator(tmp_path, log_std=-20.0), learning_rate=0.05, log_std_min=-1.5, offsets=(0, 1))
    fit(model, demonstrations(), 10)
    assert model.actor.log_std.tolist() == [-1.5, -1.5]
    assert model.heads["1"].log_std.min() >= -1.5


@pytest.mark.parametrize("frozen", ["actor.encoder", "actor.action_head", "actor.log_std", "heads"])
def test_what_is_frozen_stays_and_the_rest_learns(expert, frozen):
    model = cloner(expert, offsets=(0, 1), learning_rate=0.01, log_std_min=0.0)
    before = weights_of(model)
    fit(model, demonstrations(), 1, [FreezeSchedule([Freeze(frozen)])])
    after = weights_of(model)
    for part in ("actor.encoder", "actor.action_head", "actor.log_std", "heads"):
        assert same(before, after, part) == (part == frozen)


def test_held_out_losses_are_those_of_averaged_weights(expert):
    logger, model = MemoryLogger(), cloner(expert, learning_rate=0.01)
    fit(model, demonstrations(validation_fraction=0.2), 2, [WeightEMA(0.9)], logger)
    average = model.evaluated()
    assert not same(weights_of(model), weights_of(average))
    assert logger.series(VALIDATION)[-1][1] == average.offset_losses(model.source.held_out).item()


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"offsets": (1, 2)},
        {"offsets": ()},
        {"offsets": (0, 1, 1)},
        {"offset_weights": (1.0, 1.0)},
        {"offset_weights": (-1.0,)},
        {"offset_weights": (0.0,)},
        {"offset_weights": (math.nan,)},
        {"offset_weights": (math.inf,)},
        {"encoder_dropout": 1.0},
        {"head_dropout": -0.1},
        {"head_dropout": math.nan},
    ],
    ids=str,
)
def test_impossible_options_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"model.{name} is ") as refused:
        cloner(**options)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize("name", ["demonstrator", "policy"])
def test_policies_of_another_task_are_refused(name):
    with pytest.raises(UserError, match="maps 42 observations to 8 actions") as refused:
        cloner(**{name: "pickcube/weak"})
    assert is_sentence(str(refused.value))


def test_a_demonstrator_is_not_looked_at_where_the_data_come_from_a_file():
    cloner("pickcube/expert", data_policy="somebody")


def test_a_conditioned_policy_is_refused(tmp_path):
    path = tmp_path / "conditioned.safetensors"
    save_policy(path, ConditionedActor(GaussianActor(6, 2)), None, {})
    with pytest.raises(UserError, match="conditioned") as refused:
        cloner(policy=str(path))
    assert is_sentence(str(refused.value))


def test_dropout_between_the_layers_of_a_head_needs_two():
    with pytest.raises(UserError, match="head_dropout") as refused:
        cloner(actor=lambda o, a: GaussianActor(o, a, 16, 1), head_dropout=0.1)
    assert is_sentence(str(refused.value))
