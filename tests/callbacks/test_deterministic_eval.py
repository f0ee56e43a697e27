import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import DeterministicEval, RunReport
from rlft.rollout import LocalRollouts
from rlft.runs import outcomes
from rlft.runs.behaviour import failure_sentence
from rlft.runs.iterations import read_iterations
from rlft.statistics.evaluations import summarize
from tests.support.telling import BEHAVIOUR, TellingReach
from tests.support.training import MemoryLogger, data, fit, module, scalars

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


def test_a_task_that_tells_is_told_of_everywhere(tmp_path):
    model, datamodule, logger = module(), data(), TensorBoardLogger(tmp_path, "name")
    datamodule.env = TellingReach()
    fit(model, datamodule, 2, [DeterministicEval(num_episodes=10, stochastic=True, seed=5), RunReport()], logger)
    version = tmp_path / "name/version_0"
    expected = LocalRollouts(datamodule.env, 8).evaluate(model.actor, 10, seed=5, deterministic=True)
    kept = outcomes.read([version])["eval/success_rate", 2 * BATCH]
    assert list(kept.behaviour) == BEHAVIOUR.names
    assert kept.behaviour["least_distance"] == pytest.approx(expected.behaviour[:, 0].tolist(), rel=1e-6)
    found = scalars(version)
    assert [step for step, _ in found["eval/behaviour/mean_moved"]] == [0, BATCH, 2 * BATCH]
    assert found["eval/behaviour/distance_at_end"][-1][1] == pytest.approx(float(expected.behaviour[:, 3].mean()))
    kinds = [tag for tag in found if tag.startswith("eval/failed/")]
    assert len(kinds) == 3
    assert sum(found[tag][-1][1] for tag in (*kinds, "eval/success_rate")) == pytest.approx(1)
    assert "eval_stochastic/behaviour/mean_moved" in found
    terms = [dict(found[f"reward/{name}"]) for name in ("goal", "near")]
    for step, reward in found["train/reward"]:
        assert terms[0][step] + terms[1][step] == pytest.approx(reward, abs=1e-6)
    report = (version / "report.md").read_text()
    assert "## What the policy did" in report
    assert failure_sentence(read_iterations(version)[-1])[1:] in report
    assert "| iteration | least distance | greatest distance | mean moved | distance at end |" in report


def test_keeps_nothing_without_a_logger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what `trainer.log_dir` is then
    fit(module(), data(), 1, [DeterministicEval(num_episodes=10), RunReport()])
    assert not list(tmp_path.iterdir())
