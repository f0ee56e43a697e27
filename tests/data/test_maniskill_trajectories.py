"""What ManiSkill records we read, and what we record its tools read."""

import json

import gymnasium
import numpy as np
import pytest
import torch

from rlft.commands.collect import collect
from rlft.envs import ManiSkill
from rlft.envs.maniskill.headless import allow_no_renderer
from rlft.errors import UserError
from rlft.files.rows import entries_of
from rlft.trajectories import read_header, read_trajectories
from rlft.types import EnvSpec
from tests.support.hand_made import is_sentence

pytestmark = pytest.mark.maniskill
BOUND = torch.ones(8)
PICK_CUBE = EnvSpec("PickCube-v1", 42, 8, -BOUND, BOUND, 50, "panda", "pd_joint_delta_pos", "normalized_dense")
EPISODES = 6


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Four episodes of the weak policy and two of the expert."""
    path = tmp_path_factory.mktemp("ours") / "demos.h5"
    collect(str(path), ("pickcube/weak", "pickcube/expert"), (2, 1), EPISODES, num_envs=3, num_workers=0)
    return path


def stock_env(**settings):
    allow_no_renderer()
    import mani_skill.envs  # noqa: F401

    return gymnasium.make(
        "PickCube-v1",
        sim_backend="physx_cpu",
        render_backend="none",
        obs_mode="state",
        control_mode="pd_joint_delta_pos",
        max_episode_steps=5,
        **settings,
    )


@pytest.fixture(scope="module", params=[{"reward_mode": "normalized_dense"}, {}], ids=["named", "default"])
def recorded(request, tmp_path_factory):
    """Two truncated episodes of random actions by ManiSkill's RecordEpisode, and what the environment returned."""
    allow_no_renderer()
    from mani_skill.utils.wrappers import RecordEpisode

    folder = tmp_path_factory.mktemp("recorded")
    env = stock_env(**request.param)
    env = RecordEpisode(env, str(folder), trajectory_name="demos", save_video=False, source_type="rl")
    rows = []
    for seed in (3, 4):
        obs, _ = env.reset(seed=seed)
        truncated = False
        while not truncated:
            action = env.action_space.sample()
            successor, reward, terminated, truncated, _ = env.step(action)
            rows.append((obs[0], torch.as_tensor(action), successor[0], reward[0], terminated[0], truncated[0]))
            obs = successor
    env.close()
    return folder / "demos.h5", [torch.stack(column) for column in zip(*rows, strict=True)]


def test_what_maniskill_records_is_read_with_true_successors(recorded):
    path, (obs, action, successor, reward, terminated, truncated) = recorded
    rollout = read_trajectories(path, PICK_CUBE, "pd_joint_delta_pos", "normalized_dense")
    assert rollout.obs.state.shape == (10, 1, 42)
    for name, expected in (("obs", obs), ("action", action), ("next_obs", successor), ("reward", reward)):
        assert torch.equal(entries_of(rollout)[name][:, 0], expected), name
    assert torch.equal(rollout.terminated[:, 0], terminated)
    assert torch.equal(rollout.truncated[:, 0], truncated)
    assert truncated.nonzero().flatten().tolist() == [4, 9]
    assert not torch.equal(rollout.next_obs.state[4], rollout.obs.state[5])
    assert not rollout.log_prob_known.any()


def test_sparse_rewards_need_no_recording_and_dense_ones_of_another_mode_are_refused(recorded):
    path, (_, _, _, reward, _, _) = recorded
    assert reward.all()
    assert not read_trajectories(path, PICK_CUBE, "pd_joint_delta_pos", "sparse").reward.any()
    with pytest.raises(UserError, match="rewards of mode normalized_dense, but") as refused:
        read_trajectories(path, PICK_CUBE, "pd_joint_delta_pos", "dense")
    assert is_sentence(str(refused.value))


def test_the_default_reward_is_that_of_the_task():
    spec = ManiSkill(device="cpu").make(1).spec
    names = ("task", "robot", "control_mode", "default_reward_mode", "obs_dim")
    assert [getattr(spec, name) for name in names] == [getattr(PICK_CUBE, name) for name in names]


def test_maniskills_dataset_reads_ours(ours):
    from mani_skill.trajectory.dataset import ManiSkillTrajectoryDataset

    dataset = ManiSkillTrajectoryDataset(str(ours))
    rollout = read_trajectories(ours, PICK_CUBE, "pd_joint_delta_pos", "sparse")
    assert len(dataset) == len(rollout)
    assert dataset.env_id == "PickCube-v1"
    assert np.array_equal(dataset.obs, rollout.obs.state[:, 0].numpy())
    assert np.array_equal(dataset.actions, rollout.action[:, 0].clamp(-1, 1).numpy())
    assert np.array_equal(dataset.rewards, rollout.reward[:, 0].numpy())
    assert np.array_equal(dataset.terminated, rollout.terminated[:, 0].numpy())
    assert np.array_equal(dataset.truncated, rollout.truncated[:, 0].numpy())
    successes = len(ManiSkillTrajectoryDataset(str(ours), success_only=True).episodes)
    assert successes == EPISODES


def test_maniskill_merges_ours(ours, tmp_path):
    from mani_skill.trajectory.merge_trajectory import merge_trajectories

    merge_trajectories(str(tmp_path / "both.h5"), [ours, ours])
    once, twice = (read_trajectories(path, PICK_CUBE, None, "sparse") for path in (ours, tmp_path / "both.h5"))
    assert torch.equal(twice.obs.state, torch.cat([once.obs.state, once.obs.state]))


@pytest.mark.parametrize("how", ["use_env_states", "use_first_env_state"])
def test_maniskill_replays_ours(how, ours, tmp_path):
    allow_no_renderer()
    from mani_skill.trajectory import replay_trajectory as replay

    (tmp_path / "demos.h5").write_bytes(ours.read_bytes())
    header = read_header(ours)
    header["env_info"]["env_kwargs"]["render_backend"] = "none"  # the tests' machines may have none
    (tmp_path / "demos.json").write_text(json.dumps(header))
    options = {"save_traj": True, "record_rewards": True, "allow_failure": True, "obs_mode": "state"}
    replay.main(replay.Args(str(tmp_path / "demos.h5"), reward_mode="sparse", shader=None, **{how: True}, **options))
    (replayed,) = tmp_path.glob("demos.*.h5")
    first, second = (read_trajectories(path, PICK_CUBE, "pd_joint_delta_pos", "sparse") for path in (ours, replayed))
    assert len(read_header(replayed)["episodes"]) == EPISODES
    assert torch.equal(first.elapsed, second.elapsed)
    assert torch.equal(first.success, second.success)
    # Robot, goal and cube to millimetres: ManiSkill's own restore also forgets contacts.
    assert torch.allclose(first.next_obs.state[..., 19:32], second.next_obs.state[..., 19:32], atol=5e-3)


def test_recorded_states_are_those_of_the_observations(ours):
    import h5py

    with h5py.File(ours) as file:
        for number in range(EPISODES):
            group = file[f"traj_{number}"]
            obs, states = group["obs"][:], group["env_states"]
            assert np.allclose(states["actors/cube"][:, :3], obs[:, 29:32], atol=1e-6)
            assert np.allclose(states["actors/goal_site"][:, :3], obs[:, 26:29], atol=1e-6)
            assert np.allclose(states["articulations/panda"][:, 13:22], obs[:, :9], atol=1e-6)


def test_the_environment_that_the_header_names_is_the_one_that_was_played(ours):
    info = read_header(ours)["env_info"]
    assert info == {
        "env_id": "PickCube-v1",
        "max_episode_steps": 50,
        "env_kwargs": {
            "obs_mode": "state",
            "control_mode": "pd_joint_delta_pos",
            "reward_mode": "sparse",
            "robot_uids": "panda",
            "sim_backend": "physx_cpu",
        },
    }
