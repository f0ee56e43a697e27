"""Goals of ManiSkill's tasks: what is computed of another goal is what the simulator does with it, to the bit."""

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


def shoved(way):
    """A scripted policy for `pd_ee_delta_pos` that goes behind the cube and moves it `way` along x, 1 or -1."""

    def policy(obs, t):
        cube, tcp = obs[:, -7:-4], obs[:, 18:21]
        above = 0.1 if t < 8 else 0.0
        behind = 0.0 if t >= 16 else 0.06
        target = cube + torch.tensor([-way * behind, 0.0, above]) - tcp
        gripper = torch.full((len(obs), 1), -1.0)
        return torch.cat([target / 0.1, gripper], 1).clamp(-1, 1)

    return policy


@pytest.mark.parametrize(("task", "way"), [("PushCube-v1", 1), ("PullCube-v1", -1)])
def test_goals_on_the_table_are_seen_and_reached_as_the_task_has_them(task, way):
    """The goal that the scenes have, then for every step the place where their cubes end."""
    from mani_skill.utils.structs.pose import Pose

    batch = make_batch(8, task=task, control_mode="pd_ee_delta_pos")
    env, goals = batch.env, batch.spec.goals
    steps, actions = drive(batch, shoved(way), batch.initial_states(3).obs.state, 0, 30)
    assert torch.equal(goals.success(steps.obs), steps.success)
    goal = goals.reached(steps.obs)[-1]
    assert goals.moved(goals.reached(steps.obs)[0], goal).any()
    batch.initial_states(3)
    found = []
    for action in actions:
        expected = goals.put(batch.step(action).obs, goal)
        place = env.goal_region.pose
        env.goal_region.set_pose(Pose.create_from_pq(torch.cat([goal, place.p[:, 2:]], 1), place.q))
        info = env.get_info()
        assert torch.equal(env.get_obs(info), expected.state)
        assert torch.equal(info["success"], goals.success(expected))
        found.append(info["success"].clone())
        env.goal_region.set_pose(place)
    assert torch.stack(found).any()
    assert not torch.stack(found).all()


def test_a_cube_on_edge_has_not_been_pushed_home():
    goals = make_batch(1, task="PushCube-v1").spec.goals
    state = torch.zeros(2, 35)
    state[:, -5] = torch.tensor([0.02, 0.03])  # heights, of a cube that is right above its goal
    assert goals.success(Obs(state)).tolist() == [True, False]


def test_what_is_not_told_by_observations_has_no_goals():
    assert make_batch(1, task="PickCube-v1", robot="fetch").spec.goals is None
    assert make_batch(1, task="PickCube-v1", control_mode="pd_ee_target_delta_pose").spec.goals is None
    assert ManiSkill("LiftCube-v1", "pd_xyz", device="cpu").make(1).spec.goals is None
    assert make_batch(1, task="LiftPegUpright-v1").spec.goals is None
    assert make_batch(1, task="PushCube-v1", control_mode="pd_ee_target_delta_pose").spec.goals is None


OWN = """
from mani_skill.envs.tasks.tabletop.stack_cube import StackCubeEnv
from mani_skill.utils.registration import register_env

from rlft.types import Goals


@register_env("OwnGoals-v1", max_episode_steps=20)
class OwnGoals(StackCubeEnv):
    def hindsight(self):
        return Goals(achieved=slice(28, 31), offset=slice(0, 3), radius=0.1)
"""


def test_a_task_of_ones_own_says_what_its_goals_are(tmp_path, monkeypatch):
    (tmp_path / "own_goals.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    batch = ManiSkill("OwnGoals-v1", None, device="cpu", imports=("own_goals.py",)).make(1)
    assert batch.spec.goals.radius == 0.1
