"""One record per iteration, and what modules, data and callbacks need of one another."""

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import CriticProbe, DeterministicEval, FreezeSchedule, Pitfalls, RunReport, SuccessCheckpoint
from rlft.callbacks.freeze_schedule import Freeze
from rlft.cli import main
from rlft.errors import UserError
from rlft.modules.record import Began, IterationRecord, with_costs
from rlft.networks.policy_files import load_policy
from rlft.types import DataSource, Steps
from tests.support.cloning import cloner, demonstrations
from tests.support.hand_made import is_sentence
from tests.support.schedules import Scripted
from tests.support.training import MemoryLogger, data, fit, module, scalars


def rows(report):
    return report.state_dict()["rows"]


# ---- the record --------------------------------------------------------------------------------------------------


class Records(lightning.Callback):
    """The record of the iteration before, when one begins and when one runs."""

    def __init__(self):
        self.begins, self.runs = [], []

    def on_train_epoch_start(self, trainer, pl_module):
        self.begins.append(pl_module.record and pl_module.record.iteration)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.runs.append(pl_module.record)


def test_the_report_the_log_and_the_record_have_the_same_numbers():
    logger, report, model = MemoryLogger(), RunReport(), module()
    fit(model, data(), 2, [DeterministicEval(num_episodes=4), report, Pitfalls()], logger)
    logged = [metrics for _, metrics in logger.logged if "time/iteration" in metrics]
    assert [{"iteration": i, **metrics} for i, metrics in enumerate(logged, 1)] == rows(report)[1:]
    assert model.record.metrics == logged[-1]
    assert (model.record.iteration, model.record.steps, model.record.x) == (2, Steps(160, 160), 160)


def test_a_record_is_there_from_the_end_of_an_iteration_to_the_beginning_of_the_next():
    records = Records()
    fit(module(), data(), 3, [records])
    assert records.begins == [None, 1, 2]
    assert set(records.runs) == {None}


def test_numbers_that_come_after_the_record_are_refused():
    with pytest.raises(UserError, match="eval/success_rate came after the record of iteration 1") as refused:
        fit(module(), data(), 1, [RunReport(), Scripted([None, 0.5])])
    assert is_sentence(str(refused.value))


def test_what_an_iteration_costs_by_hand():
    measured = {"time/rollout": 1.0, "time/eval": 2.0}
    found = with_costs(measured, Began(Began.now(Steps()).clock - 10, Steps(100, 100)), Steps(180, 300))
    assert found.pop("time/iteration") == pytest.approx(10, abs=0.5)
    assert found.pop("time/update") == pytest.approx(10 - 1 - 2, abs=0.5)
    assert found.pop("charts/SPS") == pytest.approx(80 / 8, rel=0.1)
    assert found == {**measured, "steps/env": 180, "steps/sim": 300}


def test_an_amended_record_counts_the_time_of_what_came_later():
    record = IterationRecord(3, Steps(80, 80), 3, {"time/iteration": 5.0, "losses/value_loss": 1.0})
    amended = record.amended({"eval/success_rate": 0.5, "time/eval": 2.0})
    assert amended.metrics == {
        **{"time/iteration": 7.0, "losses/value_loss": 1.0},
        **{"eval/success_rate": 0.5, "time/eval": 2.0},
    }
    assert record.metrics["time/iteration"] == 5.0


def test_the_evaluation_after_an_early_stop_reaches_log_report_and_policy(tmp_path):
    report, model = RunReport(), module(learning_rate=0.0)
    stop = EarlyStopping("charts/learning_rate/actor", patience=1, check_on_train_epoch_end=True)
    callbacks = [stop, DeterministicEval(num_episodes=4, every_n_iterations=50), report, SuccessCheckpoint()]
    fit(model, data(), 20, callbacks, TensorBoardLogger(tmp_path, "name"), tmp_path)
    folder, record = tmp_path / "name/version_0", model.record
    assert record.iteration == 2
    assert rows(report)[-1] == {"iteration": 2, **record.metrics}
    logged = scalars(folder)
    for name in ("eval/success_rate", "time/iteration"):
        assert logged[name][-1] == (160, pytest.approx(record.metrics[name]))
    assert record.metrics["time/iteration"] > record.metrics["time/eval"] > 0
    info = load_policy(str(folder / "policies/last.safetensors")).info
    assert info["metrics"]["eval/success_rate"] == pytest.approx(record.metrics["eval/success_rate"])


# ---- who needs what ----------------------------------------------------------------------------------------------


class Foreign(lightning.LightningDataModule):
    """Says nothing of itself."""

    def train_dataloader(self):
        return [torch.zeros(1)]


class Silent(Foreign, DataSource):
    """Counts its steps, and has no environments."""


class Other(lightning.LightningModule):
    """No module of ours."""

    def training_step(self, batch):
        return None

    def configure_optimizers(self):
        return None


@pytest.mark.parametrize(
    ("model", "datamodule", "callbacks", "said"),
    [
        (module, Foreign, [], "FinetuneModule needs a data module that is a rlft.types.DataSource"),
        (module, Silent, [DeterministicEval()], "DeterministicEval needs a data module with environments"),
        (Other, data, [], "model Other is no rlft.types.Learner"),
        (Other, Silent, [FreezeSchedule([Freeze("actor")])], "FreezeSchedule needs a module like FinetuneModule"),
        (lambda: cloner("pickcube/expert", data_policy="x"), demonstrations, [CriticProbe()], "needs a FinetuneModule"),
    ],
)
def test_what_does_not_fit_together_is_refused(model, datamodule, callbacks, said):
    with pytest.raises(UserError, match=said) as refused:
        fit(model(), datamodule(), 1, callbacks)
    assert is_sentence(str(refused.value))


def test_step_counts_go_on_from_those_of_a_checkpoint():
    source = Silent()
    source.resume(Steps(80, 200))
    assert source.steps == Steps(80, 200)
    assert Silent().steps == Steps()  # of this run alone


@pytest.mark.parametrize("name", ["FinetuneModule", "BCModule"])
def test_the_help_of_inherited_arguments_is_shown(name, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--model.help", name])
    shown = " ".join(capsys.readouterr().out.split())
    for option, text in {
        "--model.learning_rate LEARNING_RATE": "of Adam. (type: float, default: 0.0003)",
        "--model.learning_rate_factors LEARNING_RATE_FACTORS": "multiplies the learning rate of submodules",
        "--model.learning_rate_warmup LEARNING_RATE_WARMUP": "gradient steps over which the learning rates rise",
        "--model.anneal_lr {true,false}": "lower the learning rates linearly to 0 over the run. (type: bool",
        "--model.max_grad_norm MAX_GRAD_NORM": "the joint gradient norm",
        "--model.on_bad_numbers {stop,skip}": "NaN or infinity in data, loss or gradients",
    }.items():
        assert f"{option} {text}" in shown
