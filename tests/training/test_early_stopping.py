"""Metrics that decide when a run ends and which policy is its best."""

import pytest

from rlft.cli import main
from rlft.runs.status import read_status
from tests.support.hand_made import is_sentence
from tests.support.training import run, smoke

STOPS = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.mode=max", "--trainer.callbacks.patience=1")


def test_a_run_is_not_ended_by_iterations_without_an_evaluation(tmp_path):
    """Each was taken for an evaluation without improvement, so that this run ended after its second iteration."""
    fixed = ("--eval.every_n_iterations=3", "--eval.num_episodes=4", "--model.learning_rate=1e-12")
    options = (*STOPS, "--trainer.callbacks.monitor=eval/success_rate", *fixed)
    run(tmp_path, *options, "--trainer.max_epochs=1", "--run_name=run")
    run(tmp_path, *options, "--trainer.max_epochs=9", "--run_name=run", "--ckpt_path=last")
    assert read_status(tmp_path / "run/version_1").done == 3
    run(tmp_path, *options, "--trainer.max_epochs=9", "--run_name=whole")
    assert read_status(tmp_path / "whole/version_0").done == 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--checkpoint.monitor=eval/sucess_rate"], "checkpoint.monitor is eval/sucess_rate; it must be something "),
        (
            ["--checkpoint.monitor=eval_stochastic/success_rate"],
            "such as eval/success_rate, ",
        ),  # without eval.stochastic
        (
            [*STOPS, "--trainer.callbacks.monitor=eval/sucess_rate"],
            "EarlyStopping.monitor is eval/sucess_rate; it must",
        ),
        ([*STOPS, "--trainer.callbacks.monitor=nonsense"], "EarlyStopping.monitor is nonsense; it must be one of "),
    ],
)
def test_a_metric_that_there_is_not(options, said, tmp_path, capsys):
    """A run without a best policy said nothing of it."""
    assert main(smoke(tmp_path, "--trainer.max_epochs=3", "--eval.num_episodes=4", *options)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert is_sentence(error)


def test_success_that_is_to_fall_is_refused(tmp_path, capsys):
    """Lightning's mode is min unless one says otherwise: the run would end because it gets better."""
    options = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=eval/success_rate")
    assert main(smoke(tmp_path, *options)) == 1
    assert "EarlyStopping.mode is min, by which eval/success_rate is to fall; set it to max." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
