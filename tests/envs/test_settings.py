"""Settings of a ManiSkill task: those that it has work, the others end in a sentence that lists those it has."""

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.errors import UserError
from rlft.files.rows import entries_of
from rlft.networks import GaussianActor
from rlft.rollout import LocalRollouts
from tests.support.hand_made import is_sentence
from tests.support.stock_maniskill import play, random_actions

pytestmark = pytest.mark.maniskill


def task(name="PickCube-v1", **settings):
    return ManiSkill(name, **{"control_mode": None, "device": "cpu", **settings})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"name": "MS-CartpoleBalance-v1"},
            r"no reward sparse that .*set reward_mode .* to dense or normalized_dense\.",
        ),
        (
            {"name": "MS-AntWalk-v1"},
            r"no reward sparse; set reward_mode of the environment to dense or normalized_dense\.",
        ),
        ({"name": "PlugCharger-v1", "reward_mode": "dense"}, r"no reward dense; set reward_mode .* to sparse\."),
        ({"name": "Empty-v1"}, "no reward that rlft could train with"),
        (
            {"task_options": {"noise": 1}},
            "no option 'noise'; its task_options are robot_init_qpos_noise, sim_config, enh",
        ),
        ({"task_options": {"robot_uids": "fetch"}}, "task_options sets robot_uids; set robot of the environment"),
        ({"task_options": {"robot_init_qpos_noise": "a"}}, r"cannot be built here: .* \(\w+ in .*, line \d+\)"),
        ({"name": "DrawSVG-v1"}, "cannot be built here: svgpathtools not installed"),
    ],
)
def test_what_a_task_does_not_have_is_refused_with_what_it_has(settings, said):
    with pytest.raises(UserError, match=said) as refused:
        task(**settings).make(2)
    assert is_sentence(str(refused.value))


def test_no_time_is_refused():
    with pytest.raises(UserError, match="max_episode_steps is 0; it must be at least 1, or null for the task's"):
        task(max_episode_steps=0)


def test_a_rewards_own_task_trains_and_is_evaluated():
    config = task("MS-CartpoleBalance-v1", reward_mode="normalized_dense", max_episode_steps=5)
    rollouts = LocalRollouts(config, 2)
    actor = GaussianActor(10, 1, hidden_dim=8)
    rollout, _, _ = rollouts.collect(actor, rollouts.initial_states(1), 7, 1, 0)
    assert rollout.truncated.nonzero().tolist() == [[4, 0], [4, 1]]
    assert rollouts.evaluate(actor, 3, seed=1, deterministic=True).length.tolist() == [5, 5, 5]


def test_options_reach_the_task():
    """Without noise all robots begin alike; by default their joints differ by some hundredths of a radian."""
    exact, default = task(task_options={"robot_init_qpos_noise": 0.0}).make(3), task().make(3)
    joints = [batch.initial_states(0).obs.state[:, :7] for batch in (exact, default)]
    assert torch.equal(joints[0][0], joints[0][1])
    assert (joints[1][0] - joints[1][1]).abs().max() > 0.005
    assert exact.gym_kwargs()["robot_init_qpos_noise"] == 0.0


@pytest.mark.parametrize("robot", ["panda_wristcam", "fetch"])
def test_what_was_built_is_what_is_described(robot):
    config = task(robot=robot)
    batch = config.make(1)
    described = config.describe(batch.spec)
    assert (described["robot"], described["control_mode"]) == (robot, "pd_joint_delta_pos")
    assert ManiSkill.of_policy(described).robot == robot
    assert task().make(1).spec.robot == "panda"


def test_what_a_task_does_to_looks_needs_no_renderer():
    """PushT takes the texture off its table."""
    batch = task("PushT-v1").make(2)
    batch.initial_states(0)
    assert play(batch, random_actions(batch, 2)).obs.state.isfinite().all()


def test_what_a_step_returns_is_not_written_into_later():
    batch = task().make(2)
    batch.initial_states(0)
    steps = [batch.step(action) for action in random_actions(batch, 3)]
    for name in ("obs", "reward", "terminated", "success"):
        assert len({entries_of(step)[name].data_ptr() for step in steps}) == 3, name
