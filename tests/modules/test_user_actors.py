"""Actors that rlft does not know: they train, are evaluated, saved and loaded like its own."""

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.advantage import MonteCarloRerollout
from rlft.callbacks import ExplorationSchedule, SuccessCheckpoint
from rlft.envs import PointReach
from rlft.envs.initial_states import EVALUATION, InitialStates
from rlft.errors import UserError
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts, ProcessRollouts
from rlft.types import Obs
from rlft.update import AWR, PPO, RECAP, ConditionedRECAP, CriticOnly
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.rollouts import assert_equal
from tests.support.training import MemoryLogger, data, fit, module, run
from tests.support.user_actors import ForgetfulActor, GeneratorActor, LogisticActor

UNBOUNDED = {"log_std_min": None}
UPDATES = {
    "PPO": PPO(),
    "AWR": AWR(target_kl=100.0, **UNBOUNDED),
    "RECAP": RECAP(log_std_max=None, **UNBOUNDED),
    "CriticOnly": CriticOnly(),
}


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_an_actor_with_a_density_trains_and_comes_back_from_its_files(update, tmp_path):
    model, root = module(actor=LogisticActor, update=update, learning_rate=0.01), tmp_path
    before = weights_of(model.actor)
    trainer = fit(model, data(), 2, [SuccessCheckpoint("losses/value_loss")], TensorBoardLogger(root, "run"), root)
    after = weights_of(model.actor)
    assert same(before, after) != update.trains_actor
    obs = Obs(torch.randn(5, 6))
    for file in ("policies/last.safetensors", "checkpoints/last.ckpt"):
        policy = load_policy(f"{trainer.log_dir}/{file}")
        assert isinstance(policy.actor, LogisticActor)
        assert policy.actor.widths == (16, 8)
        assert same(weights_of(policy.actor), after)
        assert torch.equal(policy.actor.mode(obs), model.actor.mode(obs))
        assert policy.critic is not None


def test_the_policy_that_acted_has_ratio_one():
    """With a learning rate of 0 the density in the loss is that of the rollout, up to rounding."""
    logger = MemoryLogger()
    fit(module(actor=LogisticActor, learning_rate=0.0), data(), 1, logger=logger)
    assert abs(logger.series("losses/approx_kl")[0][1]) < 1e-6
    assert "losses/entropy" not in logger.logged[0][1]


def test_without_exploration_it_is_evaluated_by_its_mode():
    torch.manual_seed(0)
    actor, env = LogisticActor(6, 2), PointReach(horizon=15, radius=0.5)
    results = LocalRollouts(env, 4).evaluate(actor, 10, seed=3, deterministic=True)
    one = env.make(1)
    for number in range(10):
        state = InitialStates(env).get(EVALUATION, 3, [number])
        one.restore([0], state)
        obs, successes = state.obs, []
        for _ in range(15):
            step = one.step(actor.mode(obs).detach())
            obs = step.obs
            successes.append(bool(step.success))
        assert (any(successes), successes[-1]) == (results.success_once[number], results.success_at_end[number])
    assert 0 < results.success_once.sum() < 10


def test_an_actor_without_a_density_is_imitated_with_weights():
    model, logger = module(actor=GeneratorActor, update=AWR(**UNBOUNDED), learning_rate=0.01), MemoryLogger()
    before, source = weights_of(model.actor), data()
    fit(model, source, 2, logger=logger)
    assert not same(before, weights_of(model.actor))
    assert not source.rollout.log_prob_known.any()
    assert not {"losses/approx_kl", "losses/entropy"} & logger.logged[0][1].keys()


@pytest.mark.parametrize("kind", [LogisticActor, GeneratorActor])
def test_rollouts_and_rerollouts_do_not_depend_on_the_workers(kind):
    torch.manual_seed(0)
    actor, env = kind(6, 2), PointReach(horizon=8)
    local, several = LocalRollouts(env, 5), ProcessRollouts(env, 5, 2)
    one, other = (of.collect(actor, of.initial_states(1), 12, 1, 0)[0] for of in (local, several))
    several.close()
    assert_equal(one, other)
    assert one.log_prob_known.all() == (kind is LogisticActor)
    assert one.action.flatten(0, 1).unique(dim=0).shape[0] == 60  # every decision has noise of its own
    again = local.collect(actor, local.initial_states(1), 12, 1, 0)[0]
    assert_equal(again[:, :0], one[:, :0])
    assert torch.equal(again.action, one.action)


def test_from_the_command_line(tmp_path):
    first = run(tmp_path, "--model.actor=tests.support.user_actors.LogisticActor")
    policy = first / "policies/last.safetensors"
    second = run(tmp_path, f"--model.policy={policy}", "--model.learning_rate=0.0", "--run_name=second")
    last = load_policy(str(second / "policies/last.safetensors")).actor
    assert same(weights_of(last), weights_of(load_policy(str(policy)).actor))


@pytest.mark.parametrize(
    ("actor", "update", "lacking"),
    [
        (GeneratorActor, PPO(), "log_prob"),
        (GeneratorActor, RECAP(log_std_max=None, **UNBOUNDED), "log_prob"),
        (GeneratorActor, AWR(target_kl=0.1, **UNBOUNDED), "log_prob"),
        (LogisticActor, PPO(ent_coef=0.01), "entropy"),
        (LogisticActor, AWR(), "clamp_exploration"),
        (LogisticActor, RECAP(log_std_min=None), "clamp_exploration"),
        (LogisticActor, AWR(train_log_std=False), "exploration_parameters"),
    ],
)
def test_an_update_that_needs_more_refuses_the_actor(actor, update, lacking):
    with pytest.raises(UserError, match=f"{actor.__name__} does not: it defines no {lacking}") as refused:
        module(actor=actor, update=update)
    assert is_sentence(str(refused.value))


def test_what_only_gaussians_can_is_refused():
    with pytest.raises(UserError, match="LogisticActor"):
        module(actor=LogisticActor, update=ConditionedRECAP())
    with pytest.raises(UserError, match="has no set_exploration"):
        fit(module(actor=LogisticActor), data(), 1, [ExplorationSchedule([(0, -1.0)])])
    advantage = MonteCarloRerollout(num_samples=2, center="state", center_actions=2)
    with pytest.raises(UserError, match="center state exchanges the noise of Gaussian actions"):
        fit(module(actor=LogisticActor, advantage=advantage), data(), 1)


def test_a_network_that_no_file_can_describe_is_refused_before_anything_is_simulated(tmp_path):
    model, source = module(actor=ForgetfulActor, update=AWR(**UNBOUNDED)), data()
    with pytest.raises(UserError, match=r"ForgetfulActor.*'size'") as refused:
        fit(model, source, 1, [SuccessCheckpoint()], TensorBoardLogger(tmp_path, "run"), tmp_path)
    assert is_sentence(str(refused.value))
    assert source.rollout is None
