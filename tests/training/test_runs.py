"""`rlft fit` as a user runs it: run directories, reproducibility, resuming."""

import re

import pytest
import torch
from safetensors.torch import load_file

from rlft.cli import main
from rlft.networks import GaussianActor, ValueCritic
from rlft.networks.policy_files import load_policy, save_policy
from tests.support.hand_made import same
from tests.support.parsed import parsed
from tests.support.training import run, scalars, smoke

BATCH = 320  # env steps per iteration of the smoke overlay: 16 x 20


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def two_iterations(log_dir):
    """A plain run of two iterations."""
    return run(log_dir)


@pytest.fixture(scope="module")
def three_iterations(log_dir):
    """The same with a third, asked for as env steps: 1000 // 320 = 3."""
    return run(log_dir, "--data.total_timesteps=1000")


def last_weights(run_dir):
    return load_file(run_dir / "policies/last.safetensors")


# ---- the run directory -------------------------------------------------------------------------------------------


def test_run_directory(two_iterations):
    assert re.fullmatch(r"gae_ppo\+smoke\+small_networks-[0-9a-f]{8}-seed1", two_iterations.parent.name)
    assert two_iterations.name == "version_0"
    for name in ("config.yaml", "report.md", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (two_iterations / name).stat().st_size > 0
    for name in ("best", "last"):
        policy = load_policy(str(two_iterations / f"policies/{name}.safetensors"))
        assert policy.critic is not None
        assert policy.info["task"] == "PointReach"


def test_metrics_are_logged_against_env_steps(two_iterations):
    metrics = scalars(two_iterations)
    for name in ("success_rate", "success_rate_low", "success_rate_high", "success_at_end", "return", "episode_length"):
        assert [step for step, _ in metrics[f"eval/{name}"]] == [0, BATCH, 2 * BATCH]
    for name in ("policy_loss", "value_loss", "entropy", "approx_kl", "clipfrac", "explained_variance"):
        assert [step for step, _ in metrics[f"losses/{name}"]] == [BATCH, 2 * BATCH]
    assert metrics["steps/env"] == [(BATCH, BATCH), (2 * BATCH, 2 * BATCH)]


def test_report_has_a_row_per_iteration(two_iterations):
    report = (two_iterations / "report.md").read_text()
    rows = [line.split("|")[1:3] for line in report.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [first for first, _ in cells] == ["iteration", "0", "1", "2"]
    assert [second for _, second in cells[2:]] == ["320", "640"]
    assert "Completed." in report


def test_report_repeats_the_command(two_iterations, log_dir):
    (command,) = [
        line for line in (two_iterations / "report.md").read_text().splitlines() if line.startswith("- command:")
    ]
    assert command == f"- command: `rlft {' '.join(smoke(log_dir))}`"


def test_saved_config_reproduces_the_run(two_iterations, log_dir):
    before = set(log_dir.glob("*/version_*"))
    assert main(["fit", f"--config={two_iterations / 'config.yaml'}"]) == 0
    (again,) = set(log_dir.glob("*/version_*")) - before
    assert again.parent == two_iterations.parent
    assert same(last_weights(again), last_weights(two_iterations))


def test_a_saved_config_with_other_options_is_not_called_what_it_was_saved_for(two_iterations):
    saved, name = f"--config={two_iterations / 'config.yaml'}", two_iterations.parent.name
    assert parsed(saved).config.fit.run_name == name
    assert parsed(saved, "--seed_everything=2").config.fit.run_name == name.removesuffix("1") + "2"
    other = parsed(saved, "--model.learning_rate=0.001").config.fit.run_name
    assert re.fullmatch(r"gae_ppo\+smoke\+small_networks-learning_rate0.001-[0-9a-f]{8}-seed1", other)
    assert parsed(saved, "--seed_everything=2", "--run_name=mine").config.fit.run_name == "mine"


def test_the_logger_that_lightning_has_by_default_is_that_of_the_run(tmp_path, monkeypatch):
    """`logger: true` put the run into `lightning_logs/version_0`, whatever its log directory and its name."""
    monkeypatch.chdir(tmp_path)
    options = ("--trainer.logger=true", "--run_name=run", "--trainer.max_epochs=1", "--eval.num_episodes=4")
    assert run(tmp_path / "logs", *options) == tmp_path / "logs/run/version_0"
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


@pytest.mark.parametrize("monitor", ["eval/success_rate", "eval/return"])
def test_progress_is_printed_per_iteration(monitor, log_dir, capsys):
    run_dir = run(log_dir, "--trainer.max_epochs=1", f"--checkpoint.monitor={monitor}")
    lines = capsys.readouterr().out.splitlines()
    start, end = (line for line in lines if line.startswith("iteration"))
    assert start.startswith("iteration 0/1")
    assert end.startswith("iteration 1/1")
    assert "320" in end
    assert "success" in start
    assert "success" in end
    (_, last) = scalars(run_dir)["eval/return"]
    assert (f"return {last[1]:.1f}" in end) == (monitor == "eval/return")
    assert "| return |" in (run_dir / "report.md").read_text()


# ---- the same again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_seed_decides_and_the_number_of_workers_does_not(two_iterations, log_dir, num_workers):
    again = run(log_dir, f"--data.num_workers={num_workers}")
    assert same(last_weights(again), last_weights(two_iterations))


def test_another_seed_is_another_run(two_iterations, log_dir):
    other = run(log_dir, "--seed_everything=2")
    assert other.parent.name.endswith("-seed2")
    assert not same(last_weights(other), last_weights(two_iterations))


def test_evaluation_does_not_change_training(two_iterations, log_dir):
    other = run(log_dir, "--eval.num_episodes=3", "--eval.stochastic=true")
    assert same(last_weights(other), last_weights(two_iterations))


# ---- how long, and going on --------------------------------------------------------------------------------------


def test_total_timesteps_set_the_iterations(three_iterations):
    assert [step for step, _ in scalars(three_iterations)["eval/success_rate"]] == [0, BATCH, 2 * BATCH, 3 * BATCH]


def test_a_resumed_run_equals_one_that_never_stopped(two_iterations, three_iterations, log_dir):
    resumed = run(log_dir, f"--ckpt_path={two_iterations / 'checkpoints/last.ckpt'}", "--trainer.max_epochs=3")
    metrics, whole = scalars(resumed), scalars(three_iterations)
    assert [step for step, _ in metrics["steps/env"]] == [3 * BATCH]
    for name in ("losses/value_loss", "losses/approx_kl", "train/reward", "eval/return"):
        assert metrics[name][-1] == whole[name][-1]
    assert same(last_weights(resumed), last_weights(three_iterations))


def test_a_kl_stop_does_not_skip_evaluation(log_dir):
    options = ("kl_stop_scope=both", "target_kl=1e-6")
    stopped = run(log_dir, *(f"--model.update.init_args.{option}" for option in options))
    metrics = scalars(stopped)
    assert [step for step, _ in metrics["eval/success_rate"]] == [0, BATCH, 2 * BATCH]
    assert [step for step, _ in metrics["losses/approx_kl"]] == [BATCH, 2 * BATCH]


# ---- options of the learner --------------------------------------------------------------------------------------


def test_learning_rates_reach_the_optimiser(log_dir):
    options = ("--model.learning_rate=0.001", "--model.critic_learning_rate=0.004", "--model.anneal_lr=true")
    metrics = scalars(run(log_dir, *options))
    for name, rates in (("actor", [1e-3, 5e-4]), ("critic", [4e-3, 2e-3])):
        assert [value for _, value in metrics[f"charts/learning_rate/{name}"]] == pytest.approx(rates)


def test_warmup_from_a_policy_file_leaves_its_actor_as_it_was(log_dir, tmp_path):
    torch.manual_seed(5)
    start = tmp_path / "start.safetensors"
    save_policy(start, GaussianActor(6, 2, 32, 1), ValueCritic(6, 32, 1), {})
    unknown = "--model.accept_critic_mismatch=[policy, gamma, reward_mode, reward_scale, bootstrap_at_done, expectile]"
    options = (f"--model.policy={start}", f"--model.critic_policy={start}", unknown, "--model.warmup_iterations=2")
    before, after = load_file(start), last_weights(run(log_dir, *options))
    assert same(before, after, "actor.")
    assert not same(before, after, "critic.")


def test_freezing_from_the_command_line(log_dir, tmp_path):
    start = tmp_path / "start.safetensors"
    save_policy(start, GaussianActor(6, 2, 32, 1), None, {})
    schedule = '[{"module": "actor.log_std"}]'
    options = (
        "--trainer.callbacks+=FreezeSchedule",
        f"--trainer.callbacks.schedule={schedule}",
        f"--model.policy={start}",
    )
    after = last_weights(run(log_dir, *options))
    before = load_file(start)
    assert torch.equal(before["actor.log_std"], after["actor.log_std"])
    assert not torch.equal(before["actor.encoder.0.weight"], after["actor.encoder.0.weight"])


def test_guidance_is_the_configs_also_where_a_checkpoint_has_another(log_dir):
    conditioned = ("--model.update=ConditionedRECAP", "--trainer.max_epochs=1")
    trained = run(log_dir, *conditioned)
    checkpoint = trained / "checkpoints/last.ckpt"
    changed = run(log_dir, *conditioned[:1], "--model.update.guidance=2", f"--ckpt_path={checkpoint}")
    assert load_policy(str(trained / "policies/last.safetensors")).actor.guidance == 1
    assert load_policy(str(changed / "policies/last.safetensors")).actor.guidance == 2


def test_validate_evaluates_a_checkpoint(two_iterations, log_dir):
    _, *arguments = smoke(log_dir, f"--ckpt_path={two_iterations / 'checkpoints/last.ckpt'}")
    assert main(["validate", *arguments]) == 0
