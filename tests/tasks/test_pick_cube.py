"""PickCube-v2: PickCube-v1 with the cube in every observation, and options of where things are."""

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.errors import UserError
from tests.support.rollouts import assert_equal
from tests.support.stock_maniskill import CUBE, GOAL, make_batch, play, random_actions

pytestmark = pytest.mark.maniskill


def test_with_state_observations_it_is_the_first_version():
    one, two = make_batch(3), make_batch(3, task="PickCube-v2")
    assert torch.equal(one.initial_states(5).obs.state, two.initial_states(5).obs.state)
    actions = random_actions(one, 20)
    assert_equal(play(two, actions), play(one, actions))


def test_the_cube_is_observed_whatever_the_mode():
    one, two = make_batch(2), make_batch(2, task="PickCube-v2")
    for batch in (one, two):
        batch.env._obs_mode = "rgb"
    info = two.env.get_info()
    left_out = {"obj_pose", "tcp_to_obj_pos", "obj_to_goal_pos"}
    assert two.env._get_obs_extra(info).keys() - one.env._get_obs_extra(info).keys() == left_out


def test_options_reach_the_task():
    options = {"cube_spawn_half_size": 0.01, "goal_thresh": 0.07, "max_goal_height": 0.02}
    batch = ManiSkill("PickCube-v2", None, device="cpu", task_options=options).make(16)
    obs = batch.initial_states(0).obs.state
    assert obs[:, CUBE][:, :2].abs().max() <= 0.01
    assert ((obs[:, GOAL][:, 2] >= 0.02 - 1e-6) & (obs[:, GOAL][:, 2] <= 0.04 + 1e-6)).all()
    for _ in range(3):  # a goal within 7 cm is reached at once, where the robot stands still
        step = batch.step(torch.zeros(16, 8))
    assert step.success.all()


def test_a_robot_keeps_what_is_not_chosen():
    batch = make_batch(2, task="PickCube-v2", robot="so100", task_options={"goal_thresh": 0.05})
    env = batch.env
    assert (env.goal_thresh, env.cube_spawn_half_size, env.max_goal_height) == (0.05, 0.05, 0.08)


def test_no_threshold_is_refused():
    with pytest.raises(UserError, match=r"task_options\.goal_thresh is 0; it must be above 0"):
        make_batch(1, task="PickCube-v2", task_options={"goal_thresh": 0})
