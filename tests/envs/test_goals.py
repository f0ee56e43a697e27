"""Goals of PickCube: what is computed of another goal is what the simulator does with it, to the bit."""

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.types import Obs
from tests.support.stock_maniskill import drive, grasp, make_batch, play, random_actions

pytestmark = pytest.mark.maniskill


def scene(task, robot, num_envs, **options):
    mode = "pd_ee_delta_pos" if robot == "panda" else "pd_joint_delta_pos"
    return make_batch(num_envs, task=task, robot=robot, control_mode=mode, **options)


def carried(batch, obs):
    """Steps of a script that picks the cube up and then holds it still, and its actions; obs `[N, O]`."""
    if batch.spec.robot == "panda":
        return drive(batch, grasp, obs, 0, 30)
    actions = random_actions(batch, 30)
    actions[15:] = 0  # to rest
    return play(batch, actions), actions


@pytest.mark.parametrize(
    ("task", "robot"), [("PickCube-v1", "panda"), ("PickCube-v2", "panda"), ("PickCube-v2", "so100")]
)
def test_success_follows_from_observations(task, robot):
    options = {} if robot == "panda" else {"task_options": {"goal_thresh": 0.05}}
    batch = scene(task, robot, 16, **options)
    goals = batch.spec.goals
    steps, _ = carried(batch, batch.initial_states(2).obs.state)
    assert steps.success.any()
    assert not steps.success.all()
    assert torch.equal(goals.success(steps.obs), steps.success)
    assert torch.equal(goals.put(steps.obs, steps.obs.state[..., goals.goal]).state, steps.obs.state)
    near = (steps.obs.state[..., goals.offset].norm(dim=-1) <= goals.radius) & ~steps.success
    assert near.any()  # at the goal and not at rest


@pytest.mark.parametrize("robot", ["panda", "so100"])
def test_another_goal_is_seen_and_reached_as_the_task_has_it(robot):
    """Along an episode, with goals that are reached at its end; the physics of a step may depend on the goal's body."""
    from mani_skill.utils.structs.pose import Pose

    batch = scene("PickCube-v2", robot, 8)
    env, goals = batch.env, batch.spec.goals
    obs = batch.initial_states(5).obs.state
    _, actions = carried(batch, obs)
    goal = goals.reached(Obs(env.get_obs(env.get_info()))).clone()
    batch.initial_states(5)
    found = []
    for action in actions:
        seen = batch.step(action).obs
        place = env.goal_site.pose.p.clone()
        for one, expected in ((goal, goals.put(seen, goal)), (place, seen)):  # and back
            env.goal_site.set_pose(Pose.create_from_pq(one))
            info = env.get_info()
            assert torch.equal(env.get_obs(info), expected.state)
            assert torch.equal(info["success"], goals.success(expected))
        found.append(goals.outcome(seen, goal))
    rewards, terminated = (torch.stack(column) for column in zip(*found, strict=True))
    assert torch.equal(rewards, terminated.float())
    assert terminated.any()
    assert not terminated.all()


def test_what_is_not_told_by_observations_has_no_goals():
    assert make_batch(1, task="PickCube-v1", robot="fetch").spec.goals is None
    assert make_batch(1, task="PickCube-v1", control_mode="pd_ee_target_delta_pose").spec.goals is None
    assert ManiSkill("LiftCube-v1", "pd_xyz", device="cpu").make(1).spec.goals is None
    assert make_batch(1, task="PushCube-v1").spec.goals is None


OWN = """
from mani_skill.envs.tasks.tabletop.push_cube import PushCubeEnv
from mani_skill.utils.registration import register_env

from rlft.types import Goals


@register_env("OwnGoals-v1", max_episode_steps=20)
class OwnGoals(PushCubeEnv):
    def hindsight(self):
        return Goals(achieved=slice(28, 31), offset=slice(0, 3), radius=0.1)
"""


def test_a_task_of_ones_own_says_what_its_goals_are(tmp_path, monkeypatch):
    (tmp_path / "own_goals.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    batch = ManiSkill("OwnGoals-v1", None, device="cpu", imports=("own_goals.py",)).make(1)
    assert batch.spec.goals.radius == 0.1
