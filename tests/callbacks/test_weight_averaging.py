import lightning
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import DeterministicEval, SuccessCheckpoint, WeightEMA
from rlft.cli import main
from rlft.errors import UserError
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts
from rlft.statistics.evaluations import summarize
from rlft.update import PPO
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.training import MemoryLogger, data, fit, module, run, scalars, smoke


class Weights(lightning.Callback):
    """The raw weights after every gradient step, and the averaged ones after every iteration."""

    def __init__(self):
        self.raw, self.averaged = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.raw.append(weights_of(pl_module))

    def on_train_epoch_end(self, trainer, pl_module):
        self.averaged.append(weights_of(pl_module.evaluated()))


def close(first, second):
    return all(torch.allclose(first[name], second[name], rtol=1e-5, atol=1e-6) for name in second)


def test_the_average_after_n_steps_has_weights_that_fall_by_the_decay():
    decay, weights = 0.9, Weights()
    fit(module(learning_rate=0.01), data(), 2, [WeightEMA(decay), weights])
    n = len(weights.raw)
    assert n == 12
    shares = [
        decay ** (n - 1),
        *((1 - decay) * decay ** (n - 1 - i) for i in range(1, n)),
    ]  # the first step counts whole
    assert sum(shares) == pytest.approx(1)
    expected = {k: sum(s * raw[k] for s, raw in zip(shares, weights.raw, strict=True)) for k in weights.raw[0]}
    assert close(expected, weights.averaged[-1])
    assert not close(weights.raw[-1], weights.averaged[-1])


def test_without_decay_the_average_is_the_last_step():
    weights = Weights()
    fit(module(), data(), 2, [WeightEMA(0.0), weights])
    assert same(weights.raw[-1], weights.averaged[-1])


def test_training_is_not_affected():
    torch.manual_seed(0)
    plain = module()
    fit(plain, data(), 2)
    torch.manual_seed(0)
    averaged = module()
    fit(averaged, data(), 2, [WeightEMA(0.99), DeterministicEval(num_episodes=4)])
    assert same(weights_of(plain), weights_of(averaged))
    assert not same(weights_of(averaged), weights_of(averaged.evaluated()))


@pytest.mark.parametrize("first", [True, False])
def test_evaluation_and_export_see_the_average_wherever_the_callback_stands(first, tmp_path):
    others = [DeterministicEval(num_episodes=10), SuccessCheckpoint()]
    callbacks = [WeightEMA(0.9), *others] if first else [*others, WeightEMA(0.9)]
    model, datamodule, logger = module(learning_rate=0.01), data(), TensorBoardLogger(tmp_path, "name")
    trainer = fit(model, datamodule, 2, callbacks, logger, tmp_path)
    average = model.evaluated()
    rollouts = LocalRollouts(datamodule.env, 8)
    expected = summarize(rollouts.evaluate(average.actor, 10, seed=others[0].seed, deterministic=True))
    assert scalars(trainer.log_dir)["eval/return"][-1][1] == pytest.approx(expected["return"])
    for file in ("policies/last.safetensors", "checkpoints/last.ckpt"):
        policy = load_policy(f"{trainer.log_dir}/{file}")
        assert same(weights_of(policy.actor), weights_of(average.actor))
        assert same(weights_of(policy.critic), weights_of(average.critic))
    assert not same(weights_of(average.actor), weights_of(model.actor))


def test_the_start_is_evaluated_as_it_is():
    logger, plain = MemoryLogger(), MemoryLogger()
    for where, callbacks in ((logger, [WeightEMA()]), (plain, [])):
        torch.manual_seed(0)
        fit(module(), data(), 1, [*callbacks, DeterministicEval(num_episodes=10)], where)
    assert logger.series("eval/return")[0] == plain.series("eval/return")[0]


class Floored(PPO):
    """Keeps every log standard deviation at least where it starts."""

    def project(self, actor):
        actor.log_std.clamp_(min=-0.5)


def test_the_average_stays_within_the_bounds_of_the_update():
    weights, model = Weights(), module(update=Floored(), learning_rate=0.01)
    fit(model, data(), 2, [WeightEMA(0.9), weights])
    assert min(float(averaged["actor.log_std"].min()) for averaged in weights.averaged) >= -0.5
    assert min(float(raw["actor.log_std"].min()) for raw in weights.raw) == -0.5  # the bound matters


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_impossible_decays_are_refused(decay):
    with pytest.raises(UserError) as refused:
        WeightEMA(decay)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize("datamodule", ["RolloutDataModule", "OfflineDataModule"])
def test_a_resumed_run_has_the_same_average_and_the_same_weights(datamodule, tmp_path):
    options = (
        f"--data={datamodule}",
        "--trainer.callbacks+=WeightEMA",
        "--trainer.callbacks.decay=0.9",
    )
    whole = run(tmp_path, *options, "--trainer.max_epochs=4")
    first = run(tmp_path, *options, "--trainer.max_epochs=2")
    last = f"--ckpt_path={first / 'checkpoints/last.ckpt'}"
    rest = run(tmp_path, *options, "--trainer.max_epochs=4", last)
    ours, expected = (torch.load(r / "checkpoints/last.ckpt", weights_only=True) for r in (rest, whole))
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert same(ours[part], expected[part])
    assert not same(ours["state_dict"], ours["current_model_state"])
    assert scalars(rest)["eval/return"] == scalars(whole)["eval/return"][-2:]
    _, *arguments = smoke(tmp_path, *options, last)
    assert main(["validate", *arguments]) == 0
