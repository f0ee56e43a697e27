"""What is mistyped, or not installed, gets a sentence that says what would be right."""

import shutil
from pathlib import Path

import lightning
import pytest

from rlft.cli import main
from tests.support.hand_made import is_sentence
from tests.support.training import run, smoke


def said(capsys, log_dir, *options):
    """What an option that is wrong is answered."""
    assert main(smoke(log_dir, *options)) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert not list(log_dir.iterdir())
    return error


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (("--data.env=ManiSkill", "--data.env.reward_mod=dense"), "choose one of reward_mode, task, "),
        (("--model.actor.hidden_layers=2",), "choose one of num_layers, "),
        (("--model.actor.hiden_dim=2",), "choose one of hidden_dim, "),
        (("--model.learning_rat=1",), "choose one of learning_rate, "),
        (("--model.advantage.gama=1",), "choose one of gamma, "),
    ],
)
def test_a_mistyped_option_is_answered_with_the_one_that_is_meant(options, answer, tmp_path, capsys):
    assert answer in said(capsys, tmp_path, *options)


@pytest.mark.parametrize(("logger", "package"), [("WandbLogger", "wandb"), ("CometLogger", "comet")])
def test_a_logger_whose_package_is_missing_says_which(logger, package, tmp_path, capsys):
    error = said(capsys, tmp_path, f"--trainer.logger={logger}")
    assert "needs a package that is not installed" in error
    assert package in error


def test_a_logger_by_another_name_is_answered_with_those_there_are(tmp_path, capsys):
    assert "choose one of CSVLogger, " in said(capsys, tmp_path, "--trainer.logger=wandb")


@pytest.mark.filterwarnings("error:std")
@pytest.mark.parametrize("advantage", ["GAE", "IQL"])
def test_one_transition_has_no_spread_and_no_warning(advantage, tmp_path):
    sizes = ("--data.num_envs=1", "--data.num_steps=1", "--data.num_minibatches=1", "--trainer.max_epochs=1")
    run(tmp_path, *sizes, f"--model.advantage={advantage}")


class Deleted(lightning.Callback):
    """Somebody deletes the log that TensorBoard is writing, and nobody makes its folder anew."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            trainer.logger.experiment.flush()
            shutil.rmtree(trainer.log_dir)
            Path(trainer.log_dir).write_text("in the way")


def test_a_log_that_cannot_be_written_any_more_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callback = f"--trainer.callbacks+={__name__}.Deleted"
    assert main(smoke(tmp_path, callback, "--trainer.max_epochs=4", "--trainer.logger=true")) == 1
    assert is_sentence(capsys.readouterr().err)
