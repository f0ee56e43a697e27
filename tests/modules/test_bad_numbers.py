"""NaN and infinity end a run where they appear, or cost one gradient step; what is on disk stays good."""

import json
from dataclasses import dataclass
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.precision import MixedPrecision

from rlft.advantage import GAE, MonteCarloRerollout
from rlft.callbacks import SuccessCheckpoint
from rlft.envs import PointReach
from rlft.envs.point_reach import PointReachBatch
from rlft.errors import UserError
from rlft.modules import BCModule
from rlft.networks import GaussianActor
from rlft.update import PPO
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.training import UPDATES, MemoryLogger, data, fit, module

NAN = float("nan")
STEPS, ITERATION, MINIBATCH = 10, 3, 4  # env steps per iteration; where the bad numbers appear


class SpoiledBatch(PointReachBatch):
    """Environment 5 returns a NaN in one of its steps."""

    steps = 0

    def step(self, action):
        step = super().step(action)
        self.steps += 1
        if self.steps == self.config.at:
            {"obs": step.obs.state, "reward": step.reward}[self.config.quantity][5] = NAN
        return step


@dataclass(frozen=True)
class Spoiled(PointReach):
    quantity: str = "obs"
    at: int = (ITERATION - 1) * STEPS + 4

    def make(self, num_envs):
        return SpoiledBatch(self, num_envs)


class SpoiledGAE(GAE):
    estimates = 0

    def estimate(self, rollout, critic, rerollouts):
        estimate = super().estimate(rollout, critic, rerollouts)
        self.estimates += 1
        if self.estimates == ITERATION:
            estimate.advantage[2, 6] = -float("inf")
        return estimate


class SpoiledPPO(PPO):
    """In the fourth minibatch of the third iteration, or of the fourth one, the loss or its gradient is NaN."""

    losses = 0

    def __init__(self, what):
        super().__init__(target_kl=None)
        self.what = what

    def actor_loss(self, actor, batch):
        loss, metrics = super().actor_loss(actor, batch)
        self.losses += 1
        if self.losses == (ITERATION - 1) * UPDATES + MINIBATCH:
            if self.what == "loss":
                return loss * NAN, {name: value * NAN for name, value in metrics.items()}
            return loss + (0 * actor.log_std.sum()).sqrt(), metrics  # 0, but the gradient of the root is infinite
        return loss, metrics


class SpoiledWeights(lightning.Callback):
    """After some minibatch of the third iteration a weight is not finite."""

    def __init__(self, minibatch, value=NAN):
        self.minibatch, self.value = minibatch, value

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if (trainer.current_epoch + 1, batch_idx + 1) == (ITERATION, self.minibatch):
            pl_module.critic.value[2].bias.data[3] = self.value


class InfiniteStep(PPO):
    """The last gradient step of the third iteration makes a weight infinite."""

    steps = 0

    def project(self, actor):
        self.steps += 1
        if self.steps == ITERATION * UPDATES:
            actor.log_std.data[1] = float("inf")


class Evaluated(lightning.Callback):
    """Stands for what looks at the weights after an iteration."""

    iterations = 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.iterations += 1


CASES = {  # what is spoiled: module, data, callbacks, and what the sentence says
    "observation": (lambda: {}, lambda: {"env": Spoiled()}, list, "first the obs of step 4 in environment 5"),
    "reward": (
        lambda: {},
        lambda: {"env": Spoiled(quantity="reward")},
        list,
        "first the reward of step 3 in environment 5",
    ),
    "advantage": (lambda: {"advantage": SpoiledGAE()}, dict, list, "1 of 80 transitions are not finite, first the adv"),
    "loss": (lambda: {"update": SpoiledPPO("loss")}, dict, list, "in minibatch 4 of 40 rows the loss is nan"),
    "gradient": (
        lambda: {"update": SpoiledPPO("gradient")},
        dict,
        list,
        "in minibatch 4 of 40 rows the gradient of actor.log_std is not finite",
    ),
    "weights": (
        dict,
        dict,
        lambda: [SpoiledWeights(MINIBATCH - 1)],
        "in minibatch 4 of 40 rows the weights critic.value.2.bias are not finite",
    ),
    "weights whose tanh is 1": (
        dict,
        dict,
        lambda: [SpoiledWeights(MINIBATCH - 1, float("inf"))],
        "after minibatch 6 the weights critic.value.2.bias are not finite",
    ),
    "weights of the last step": (
        lambda: {"update": InfiniteStep(target_kl=None)},
        dict,
        list,
        "after minibatch 6 the weights actor.log_std are not finite",
    ),
    "weights after the last step": (
        dict,
        dict,
        lambda: [SpoiledWeights(UPDATES)],
        "after minibatch 6 the weights critic.value.2.bias are not finite",
    ),
}


def seeded(**options):
    torch.manual_seed(0)
    return module(**{"update": PPO(target_kl=None), **options})


def train(root, options, settings, callbacks, iterations):
    """Trains with checkpoints; returns the run directory and the error, if there was one."""
    logger = TensorBoardLogger(root, "name")
    env = settings.pop("env", PointReach())
    loader = data(num_steps=STEPS, **settings)
    loader.env = env
    try:
        fit(seeded(**options), loader, iterations, [*callbacks, SuccessCheckpoint()], logger, root)
    except UserError as error:
        return Path(logger.log_dir), str(error)
    return Path(logger.log_dir), None


def checkpoint(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The last checkpoint of a run that ends before anything is spoiled."""
    folder, error = train(tmp_path_factory.mktemp("healthy"), {}, {}, [], ITERATION - 1)
    assert error is None
    return checkpoint(folder)


@pytest.mark.parametrize("case", CASES)
def test_a_run_stops_where_a_bad_number_appears_and_its_last_checkpoint_is_good(case, tmp_path, healthy):
    options, settings, callbacks, said = CASES[case]
    evaluated = Evaluated()
    folder, error = train(tmp_path, options(), settings(), [*callbacks(), evaluated], ITERATION + 2)
    assert error is not None
    assert is_sentence(error)
    assert f"Iteration {ITERATION} " in error
    assert said in error
    # A callback that spoils weights after the last step is beyond what is seen before the evaluation.
    assert evaluated.iterations == ITERATION - (case != "weights after the last step")
    last = checkpoint(folder)
    assert last["epoch"] == ITERATION - 2
    assert same(last["state_dict"], healthy["state_dict"])
    assert all(bool(weights.isfinite().all()) for weights in last["state_dict"].values())
    for i, moments in last["optimizer_states"][0]["state"].items():
        assert same(moments, healthy["optimizer_states"][0]["state"][i])
    details = json.loads((folder / "bad_numbers.json").read_text())
    assert details["iteration"] == ITERATION
    assert details["what"] in error
    assert str(folder / "bad_numbers.json") in error


def test_the_minibatch_is_described(tmp_path):
    folder, _ = train(tmp_path, {}, {}, [SpoiledWeights(MINIBATCH - 1)], ITERATION)
    details = json.loads((folder / "bad_numbers.json").read_text())
    assert (details["minibatch"], details["rows"]) == (MINIBATCH, 40)
    assert details["bad_weights"] == ["critic.value.2.bias"]
    quantities = details["quantities"]
    assert {"obs", "action", "signal", "value_target"} <= quantities.keys()
    assert -2 <= quantities["obs"]["min"] < quantities["obs"]["max"] <= 2  # positions, moves and offsets of PointReach
    assert quantities["obs"]["bad_rows"] == quantities["mean_action"]["bad_rows"] == 0
    assert quantities["obs"]["first_bad_row"] is None


def test_bad_rows_of_a_rollout_are_described(tmp_path):
    folder, _ = train(tmp_path, {}, {"env": Spoiled(quantity="reward")}, [], ITERATION)
    quantities = json.loads((folder / "bad_numbers.json").read_text())["quantities"]
    assert (quantities["reward"]["bad_rows"], quantities["reward"]["first_bad_row"]) == (1, [3, 5])
    assert quantities["advantage"]["bad_rows"] > 1  # GAE carries it back in time
    assert quantities["obs"]["bad_rows"] == 0


class Steps(lightning.Callback):
    """Weights and moments before and after every minibatch, and how many rows it had."""

    def __init__(self):
        self.before, self.after, self.rows = [], [], []

    @staticmethod
    def state(trainer, pl_module):
        (optimizer,) = trainer.optimizers
        moments = {
            f"{i} {name}": tensor.clone()
            for i, state in optimizer.state_dict()["state"].items()
            for name, tensor in state.items()
        }
        return {**weights_of(pl_module), **moments}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before.append(self.state(trainer, pl_module))
        self.rows.append(len(batch))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(self.state(trainer, pl_module))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_skipped_update_changes_nothing_and_the_run_goes_on(what):
    steps, logger = Steps(), MemoryLogger()
    model = seeded(update=SpoiledPPO(what), on_bad_numbers="skip")
    fit(model, data(), ITERATION + 1, [steps], logger)
    poisoned = (ITERATION - 1) * UPDATES + MINIBATCH - 1
    unchanged = [
        i
        for i, (before, after) in enumerate(zip(steps.before, steps.after, strict=True))
        if before.keys() == after.keys() and same(before, after)
    ]
    assert unchanged == [poisoned]
    assert len(steps.after) == (ITERATION + 1) * UPDATES
    assert [count for _, count in logger.series("charts/skipped_updates")] == [1]
    assert all(torch.isfinite(torch.tensor(loss)) for _, loss in logger.series("losses/policy_loss"))
    assert [count for _, count in logger.series("charts/actor_updates")] == [6, 6, 5, 6]


def test_bad_rows_are_left_out_of_an_iteration():
    steps, logger = Steps(), MemoryLogger()
    loader = data(num_minibatches=1)
    loader.env = Spoiled(quantity="reward")
    fit(seeded(on_bad_numbers="skip"), loader, ITERATION + 1, [steps], logger)
    ((_, bad),) = logger.series("charts/bad_rows")
    assert 1 <= bad <= 4  # the step of the reward and those before it in its environment
    assert steps.rows == [80] * 6 + [80 - bad] * 3 + [80] * 3
    assert all(bool(weights.isfinite().all()) for weights in steps.after[-1].values())


def test_weights_that_are_not_finite_are_not_skipped():
    with pytest.raises(UserError, match="in minibatch 4 of 40 rows the weights critic"):
        fit(seeded(on_bad_numbers="skip"), data(), ITERATION, [SpoiledWeights(MINIBATCH - 1)])


@pytest.mark.parametrize("option", ["stop", "skip"])
@pytest.mark.parametrize("at", [4, STEPS + 5], ids=["collected", "played"])
def test_what_rerollouts_have_masked_stops_nothing(option, at):
    logger, loader = MemoryLogger(), data()
    loader.env = Spoiled(quantity="reward", at=at)
    rerollout = MonteCarloRerollout(num_samples=1)
    fit(seeded(advantage=rerollout, on_bad_numbers=option), loader, 2, logger=logger)
    assert len(logger.series("steps/env")) == 2
    assert not logger.series("charts/bad_rows")
    invalid = sum(count for _, count in logger.series("charts/rerollouts_invalid"))
    rewards = [reward for _, reward in logger.series("train/reward")]
    assert ([reward != reward for reward in rewards], invalid) == ([at == 4, False], int(at != 4))


class Certain(GaussianActor):
    """Says of one environment's action that its density is NaN."""

    def act(self, obs, noise, *, explore=True):
        acted = super().act(obs, noise, explore=explore)
        acted.log_prob[5:6] = NAN
        return acted


def test_a_density_that_is_not_finite_is_no_unknown_one():
    with pytest.raises(UserError, match=r"10 of 80 transitions .* first the log_prob of step 0 in environment 5"):
        fit(seeded(actor=lambda o, a: Certain(o, a, 16, 2)), data(num_steps=STEPS), 1)


def test_cloning_is_watched_too():
    loader = data()
    loader.env = Spoiled()
    model = BCModule(6, 2, actor=lambda o, a: GaussianActor(o, a, 16, 2), demonstrator=None)
    model.setup = lambda stage: None  # it would refuse to imitate itself
    with pytest.raises(UserError, match="first the obs of step 4 in environment 5"):
        fit(model, loader, ITERATION)


@pytest.mark.parametrize("advantage", [GAE, lambda: MonteCarloRerollout(num_samples=1, critic=True)], ids=["GAE", "re"])
def test_a_healthy_run_is_what_it_is_without_the_check(advantage):
    class Unchecked(type(module())):
        def configure_gradient_clipping(self, optimizer, *_, **__):
            for network in self.clipped_apart():
                torch.nn.utils.clip_grad_norm_(list(network.parameters()), self.max_grad_norm)

    weights = []
    for kind in (None, Unchecked):
        model = seeded(advantage=advantage(), max_grad_norm=0.05)  # a norm that is always exceeded
        if kind:
            model.__class__ = kind
        fit(model, data(), 2)
        weights.append(weights_of(model))
    assert same(*weights)


def half_precision(model, iterations):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=iterations,
        callbacks=[steps := Steps()],
        plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, datamodule=data())
    return steps, scaler


def test_infinite_gradients_of_half_precision_are_left_to_the_scaler():
    steps, scaler = half_precision(seeded(update=SpoiledPPO("gradient")), ITERATION)
    poisoned = (ITERATION - 1) * UPDATES + MINIBATCH - 1
    assert [i for i in range(len(steps.after)) if i and same(steps.before[i], steps.after[i])] == [poisoned]
    assert scaler.get_scale() == 2.0**9  # one overflow halves it
    assert len(steps.after) == ITERATION * UPDATES


def test_a_bad_loss_stops_half_precision_too():
    with pytest.raises(UserError, match="in minibatch 4 of 40 rows the loss is nan"):
        half_precision(seeded(update=SpoiledPPO("loss")), ITERATION)
