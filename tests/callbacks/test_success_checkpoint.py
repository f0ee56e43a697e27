from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import SuccessCheckpoint
from rlft.networks.policy_files import load_policy
from tests.support.hand_made import same, weights_of
from tests.support.training import data, fit, module


class Scripted(lightning.Callback):
    """Says what the success rate of every iteration is, `None` if it is not evaluated, and keeps its weights."""

    def __init__(self, rates):
        self.rates, self.actors = rates, []

    def on_train_epoch_end(self, trainer, pl_module):
        if (rate := self.rates[trainer.current_epoch]) is not None:
            pl_module.add_metrics({"eval/success_rate": rate})
        self.actors.append(weights_of(pl_module.actor))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    script = Scripted([0.2, 0.8, 0.5])
    callbacks = [script, SuccessCheckpoint(keep_every=2)]
    trainer = fit(module(), data(), 3, callbacks, TensorBoardLogger(root, "name"), root)
    return trainer.log_dir, script


@pytest.mark.parametrize(("name", "iteration", "rate"), [("best", 2, 0.8), ("last", 3, 0.5), ("iteration_2", 2, 0.8)])
def test_policies_are_those_of_their_iteration(trained, name, iteration, rate):
    folder, script = trained
    policy = load_policy(f"{folder}/policies/{name}.safetensors")
    assert same(weights_of(policy.actor), script.actors[iteration - 1])
    assert policy.critic is not None
    assert policy.info["iteration"] == iteration
    assert policy.info["env_steps"] == 80 * iteration
    assert policy.info["task"] == "PointReach"
    assert policy.info["metrics"]["eval/success_rate"] == pytest.approx(rate)


@pytest.mark.parametrize(("name", "iteration"), [("best", 2), ("last", 3)])
def test_checkpoints_are_those_of_their_iteration(trained, name, iteration):
    folder, script = trained
    checkpoint = torch.load(f"{folder}/checkpoints/{name}.ckpt", weights_only=True)
    assert checkpoint["env_steps"] == 80 * iteration
    actor = {k.removeprefix("actor."): v for k, v in checkpoint["state_dict"].items() if k.startswith("actor.")}
    assert same(actor, script.actors[iteration - 1])
    assert same(weights_of(load_policy(f"{folder}/checkpoints/{name}.ckpt").actor), actor)


def test_an_iteration_without_evaluation_is_never_the_best_and_claims_no_rate(tmp_path):
    callbacks = [Scripted([None, 0.3, None, 0.6, None]), SuccessCheckpoint(keep_every=1)]
    folder = fit(module(), data(), 5, callbacks, TensorBoardLogger(tmp_path, "name"), tmp_path).log_dir
    info = {n: load_policy(f"{folder}/policies/{n}.safetensors").info for n in ("best", "last", "iteration_2")}
    assert {name: i["iteration"] for name, i in info.items()} == {"best": 4, "last": 5, "iteration_2": 2}
    assert {name: i["metrics"].get("eval/success_rate") for name, i in info.items()} == {
        "best": 0.6,
        "last": None,
        "iteration_2": 0.3,
    }
    assert torch.load(f"{folder}/checkpoints/best.ckpt", weights_only=True)["epoch"] == 3


def test_nothing_else_is_kept(trained):
    folder, _ = trained
    names = [f"{name}.{ending}" for name in ("best", "iteration_2", "last") for ending in ("json", "safetensors")]
    assert sorted(path.name for path in Path(folder, "policies").iterdir()) == names
    assert sorted(path.name for path in Path(folder, "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
