import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import DeterministicEval, RunReport
from rlft.rollout import LocalRollouts
from rlft.runs import outcomes
from rlft.statistics.evaluations import summarize
from tests.support.training import MemoryLogger, data, fit, module

BATCH = 80  # env steps per iteration


def evaluated(iterations, **options):
    logger, model = MemoryLogger(), module()
    datamodule = data()
    fit(model, datamodule, iterations, [DeterministicEval(num_episodes=10, **options)], logger)
    return logger, model, datamodule


@pytest.mark.parametrize(("every", "iterations"), [(1, [0, 1, 2, 3]), (2, [0, 2, 3]), (5, [0, 3])])
def test_evaluates_the_start_every_so_many_iterations_and_the_last(every, iterations):
    logger, _, _ = evaluated(3, every_n_iterations=every)
    assert [step for step, _ in logger.series("eval/success_rate")] == [BATCH * i for i in iterations]
    assert not logger.series("eval_stochastic/success_rate")


def test_logs_what_the_policy_achieves():
    logger, model, datamodule = evaluated(1, stochastic=True, seed=5)
    rollouts = LocalRollouts(datamodule.env, 8)
    for prefix, deterministic in (("eval", True), ("eval_stochastic", False)):
        expected = summarize(rollouts.evaluate(model.actor, 10, seed=5, deterministic=deterministic))
        for name, value in expected.items():
            assert logger.series(f"{prefix}/{name}")[-1] == (BATCH, pytest.approx(value))


def test_keeps_which_episodes_succeeded(tmp_path):
    model, datamodule, logger = module(), data(), TensorBoardLogger(tmp_path, "name")
    fit(model, datamodule, 2, [DeterministicEval(num_episodes=10, stochastic=True, seed=5)], logger)
    lines = (tmp_path / "name/version_0" / outcomes.FILE).read_text().splitlines()
    assert len(lines) == 6  # the start and two iterations, with mean and with sampled actions
    kept = outcomes.read([tmp_path / "name/version_0"])
    rollouts = LocalRollouts(datamodule.env, 8)
    for prefix, deterministic in (("eval", True), ("eval_stochastic", False)):
        expected = rollouts.evaluate(model.actor, 10, seed=5, deterministic=deterministic)
        episodes = kept[f"{prefix}/success_rate", 2 * BATCH]
        assert episodes.success == tuple(expected.success_once.tolist())
        assert episodes.states == f"{datamodule.env.starts()}, seed 5"


def test_keeps_nothing_without_a_logger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what `trainer.log_dir` is then
    fit(module(), data(), 1, [DeterministicEval(num_episodes=10), RunReport()])
    assert not list(tmp_path.iterdir())
