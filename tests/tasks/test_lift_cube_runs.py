"""LiftCube-v1 in runs with a replay buffer, whose reward changes."""

import json

import pytest
import torch

from rlft.cli import main
from rlft.data import replay_files
from tests.support.hand_made import REPO
from tests.support.training import made_by

pytestmark = [pytest.mark.maniskill, pytest.mark.slow]

OPTIONS = (
    *("--model.critic.hidden_dim=16", "--data.env=ManiSkill", "--data.env.task=LiftCube-v1"),
    *("--data.env.control_mode=pd_xyz", "--data.num_envs=4", "--data.num_steps=100", "--data.collect_steps=50"),
    *("--data.num_workers=0", "--data.updates_per_step=0.05", "--eval.num_episodes=2", "--eval.every_n_iterations=9"),
)


def options(log_dir, iterations, reward, *more):
    version, mode = reward
    files = [f"--config={REPO / 'configs/sac.yaml'}"]
    reward = [f"--data.env.task_options={{reward_version: {version}, start: near}}", f"--data.env.reward_mode={mode}"]
    return ["fit", *files, f"--log_dir={log_dir}", *OPTIONS, *reward, f"--trainer.max_epochs={iterations}", *more]


def test_a_run_goes_on_with_another_version_of_the_reward(tmp_path, capsys):
    first = made_by(options(tmp_path, 1, ("v1", "dense")), tmp_path)
    going_on = f"--ckpt_path={first / 'checkpoints/last.ckpt'}"
    assert main(options(tmp_path, 2, ("v11", "normalized_dense"), going_on)) == 1
    error = capsys.readouterr().err
    assert "reward_definition" in error
    assert "reward_mode dense (here normalized_dense)" in error

    other = options(tmp_path, 2, ("v11", "normalized_dense"), going_on, "--on_reward_change=recompute")
    second = made_by(other, tmp_path)
    (before, inputs), (after, _) = (replay_files.read_segment(version, 0) for version in (first, second))
    assert list(inputs) == sorted(inputs)
    assert len(inputs) == 8
    straight = made_by(options(tmp_path / "straight", 1, ("v11", "normalized_dense")), tmp_path / "straight")
    same_steps, _ = replay_files.read_segment(straight, 0)
    assert torch.equal(same_steps.obs.state[:50], before.obs.state[:50])  # the first part, before anything is learned
    assert torch.equal(same_steps.reward[:50], after.reward[:50])
    assert not torch.equal(before.reward, after.reward)
    saved = torch.load(second / "checkpoints/last.ckpt", weights_only=True)["ReplayDataModule"]["rewards"]["record"]
    assert json.loads(saved["reward"]["reward_definition"])["version"] == "v11"
