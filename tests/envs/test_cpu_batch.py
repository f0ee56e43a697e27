"""The batched CPU backend is ManiSkill: same observations, rewards and success, and states that can be restored."""

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.envs.maniskill.physics import CudaPhysics
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts
from tests.support.rollouts import assert_equal
from tests.support.stock_maniskill import (
    CUBE,
    IS_GRASPED,
    TCP,
    assert_same_steps,
    drive,
    grasp,
    make_batch,
    play,
    random_actions,
    reset_like_stock,
    snapshot,
    stock_steps,
)

pytestmark = pytest.mark.maniskill

TASKS = [
    "PickCube-v1",
    "PushCube-v1",
    "StackCube-v1",
    "PullCube-v1",
    "LiftPegUpright-v1",
    "PokeCube-v1",
    "PlaceSphere-v1",
    "RollBall-v1",
    "PegInsertionSide-v1",
    "PickCubeSO100-v1",
    "LiftCube-v1",
]
OF_ROBOTS = ("PickCube-v1", "PickCubeSO100-v1")  # one of each
PANDA_MODES = [
    "pd_joint_delta_pos",
    "pd_joint_pos",
    "pd_ee_delta_pos",
    "pd_ee_delta_pose",
    "pd_ee_pose",
    "pd_joint_target_delta_pos",
    "pd_ee_target_delta_pos",
    "pd_ee_target_delta_pose",
    "pd_joint_vel",
    "pd_joint_pos_vel",
    "pd_joint_delta_pos_vel",
]
SO100_MODES = ["pd_joint_delta_pos", "pd_joint_pos", "pd_joint_target_delta_pos"]
ALL_MODES = [("PickCube-v1", m) for m in PANDA_MODES] + [("PickCubeSO100-v1", m) for m in SO100_MODES]


@pytest.fixture(scope="module")
def grasped():
    """A PickCube batch, and states in which the cube is held (after 20 steps of the script)."""
    batch = make_batch(3, control_mode="pd_ee_delta_pos")
    steps, _ = drive(batch, grasp, batch.initial_states(3).obs.state, 0, 20)
    assert steps.obs.state[-1, :, IS_GRASPED].all()
    return batch, snapshot(batch, steps.obs.state[-1], elapsed=20)


# ---- parity with stock ManiSkill ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "steps"), [(TASKS[0], 50), *((task, 20) for task in TASKS[1:])])
def test_an_episode_equals_stock(task, steps):
    config, batch = ManiSkill(task=task, control_mode=None), make_batch(2, task=task)
    states = reset_like_stock(batch, seed=7)
    batch.restore(range(2), states)
    actions = random_actions(batch, steps)
    ours = play(batch, actions)
    assert ours.obs.state.isfinite().all()
    assert (ours.obs.state[1:] != ours.obs.state[:-1]).any(-1).all(), "something must move at every step"
    assert_same_steps(ours, stock_steps(config, states, actions, seed=7))


@pytest.mark.parametrize("reward_mode", ["dense", "normalized_dense"])
def test_dense_reward_equals_stock(reward_mode):
    batch = make_batch(2, reward_mode=reward_mode)
    states = reset_like_stock(batch, seed=7)
    batch.restore(range(2), states)
    actions = random_actions(batch, 20)
    ours = play(batch, actions)
    assert ours.reward.std() > 0
    assert_same_steps(ours, stock_steps(ManiSkill(control_mode=None, reward_mode=reward_mode), states, actions, seed=7))


def test_a_grasp_equals_stock():
    """Joint motions of a scripted grasp, replayed in both: the cube is held, lifted and brought to the goal."""
    script = make_batch(2, control_mode="pd_ee_delta_pos", reward_mode="dense")
    states, actions = reset_like_stock(script, seed=7), []
    script.restore(range(2), states)
    obs = states.obs.state
    arm = script.env.agent.controller.controllers["arm"]
    for t in range(50):
        obs = script.step(grasp(obs, t)).obs.state
        gripper = torch.full((2, 1), 1.0 if t < 12 else -1.0)
        actions.append(torch.cat([arm._target_qpos, gripper], 1))
    config = ManiSkill(control_mode="pd_joint_pos", reward_mode="dense")
    batch = make_batch(2, control_mode="pd_joint_pos", reward_mode="dense")
    reset_like_stock(batch, seed=7)
    batch.restore(range(2), states)
    ours = play(batch, actions)
    assert ours.obs.state[20:, :, IS_GRASPED].all()
    assert ours.success.any(0).all()
    assert_same_steps(ours, stock_steps(config, states, torch.stack(actions), seed=7))


# ---- control modes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "mode"), ALL_MODES)
def test_every_control_mode_moves_the_robot(task, mode):
    batch = make_batch(2, task=task, control_mode=mode)
    start = batch.initial_states(0).obs.state
    obs = play(batch, random_actions(batch, 10)).obs.state
    assert obs.isfinite().all()
    assert ((obs[-1] - start)[:, :5].abs() > 1e-3).any(1).all()


@pytest.mark.parametrize(("task", "mode"), [(t, m) for t, m in ALL_MODES if "pd_joint" in m])
def test_joint_control_equals_stock_bit_for_bit(task, mode):
    config, batch = ManiSkill(task=task, control_mode=mode), make_batch(2, task=task, control_mode=mode)
    states = reset_like_stock(batch, seed=7)
    batch.restore(range(2), states)
    actions = random_actions(batch, 20)
    ours = play(batch, actions)
    assert torch.equal(ours.obs.state, stock_steps(config, states, actions, seed=7).obs.state)


@pytest.mark.parametrize(
    "mode", ["pd_ee_delta_pos", "pd_ee_delta_pose", "pd_ee_target_delta_pos", "pd_ee_target_delta_pose"]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_end_effector_follows_the_commanded_direction(mode, axis):
    """Ten steps of 0.5 cm. The PD drive lags behind and one Newton step of inverse kinematics is inexact, more so
    without a target, so 25% to 120% of the way is accepted, and 1.5 cm of drift across.
    """
    batch = make_batch(2, control_mode=mode)
    batch.initial_states(0)
    start = batch.env.agent.tcp.pose.p.clone()
    action = torch.zeros(2, len(batch.spec.action_low))
    action[:, axis], action[:, -1] = 0.05, 1.0  # 1 is 0.1 m
    play(batch, [action] * 10)
    moved = batch.env.agent.tcp.pose.p - start
    across = [i for i in range(3) if i != axis]
    assert ((moved[:, axis] > 0.25 * 0.05) & (moved[:, axis] < 1.2 * 0.05)).all(), moved
    assert (moved[:, across].abs() < 0.015).all(), moved


@pytest.mark.parametrize("mode", [m for m in PANDA_MODES if "_ee_" in m])
def test_inverse_kinematics_do_not_depend_on_the_number_of_scenes(mode):
    four, one = make_batch(4, control_mode=mode), make_batch(1, control_mode=mode)
    states, actions = four.initial_states(0), random_actions(four, 10)
    four.restore(range(4), states)
    one.restore([0], states[[2]])
    torch.testing.assert_close(
        play(one, actions[:, [2]]).obs.state[:, 0], play(four, actions).obs.state[:, 2], atol=1e-5, rtol=0
    )


# ---- states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_saving_a_restored_state_gives_it_back(task):
    batch = make_batch(3, task=task)
    batch.initial_states(0)
    states = snapshot(batch, play(batch, random_actions(batch, 5)).obs.state[-1])
    batch.initial_states(1)
    batch.restore(range(3), states)
    physics, task_state = batch.save(range(3))
    assert torch.equal(task_state, states.task)
    # Kinematic poses are stored through their centre of mass and come back with a rounding error.
    torch.testing.assert_close(
        physics.view(torch.float32), states.physics.view(torch.float32), atol=1e-6, rtol=0, equal_nan=True
    )


@pytest.mark.parametrize("task", TASKS)
def test_states_have_the_same_layout_for_any_number_of_scenes(task):
    """At 1, 2 (fingers), 3 (axes), 4 (turns) and 7 (arm joints) scenes, constants have the shape of a batch; those of a
    robot also at other numbers of its joints.
    """
    shapes = set()
    for num_envs in (1, 2, 3, 4, 5, 7, *((6, 8, 9) if task in OF_ROBOTS else ())):
        batch = make_batch(num_envs, task=task)
        shapes.add(tuple(part.shape for part in batch.save([0])))
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("task", "mode"),
    [
        *((task, None) for task in TASKS if task != "PegInsertionSide-v1"),  # its scenes differ
        *((task, "pd_joint_target_delta_pos") for task in OF_ROBOTS),  # what a controller remembers
    ],
)
def test_same_actions_from_a_restored_state_give_the_same_future(task, mode):
    """In the same scene, in another, and in another environment, whatever ran there before."""
    batch, other = make_batch(3, task=task, control_mode=mode), make_batch(5, task=task, control_mode=mode)
    batch.initial_states(0)
    states = snapshot(batch, play(batch, random_actions(batch, 10)).obs.state[-1])
    actions = random_actions(batch, 20, seed=1)
    batch.restore(range(3), states)
    future = play(batch, actions)

    batch.restore(range(3), states)
    again = play(batch, actions)
    assert torch.equal(again.obs.state, future.obs.state)

    other.initial_states(4)
    play(other, random_actions(other, 7, seed=2))
    rows, padded = [4, 0, 2], random_actions(other, 20, seed=3)
    other.restore(rows, states)
    padded[:, rows] = actions
    elsewhere = play(other, padded)
    assert_equal(elsewhere[:, rows], future)


def test_the_future_of_a_grasp_is_the_same_whatever_ran_before(grasped):
    """Several contacts at once: the solver must meet them in the same order."""
    batch, states = grasped

    def future() -> torch.Tensor:
        batch.restore(range(3), states)
        return drive(batch, grasp, states.obs.state, 20, 5)[0].obs.state

    first = future()
    batch.initial_states(9)
    down = random_actions(batch, 25, seed=5)
    down[..., 2] = -1.0  # into the table
    play(batch, down)
    assert torch.equal(future(), first)


def test_how_long_bodies_have_been_at_rest_does_not_matter():
    """A body falls asleep after 0.4 s at rest, and a policy leaves some cubes at rest just before a state is saved."""
    rollouts = LocalRollouts(ManiSkill(device="cpu"), 32)
    batch, actor = rollouts.worker.env, load_policy("pickcube/weak").actor
    _, states, _ = rollouts.collect(actor, rollouts.initial_states(1), 20, seed=1, iteration=0)
    actions = random_actions(batch, 20)

    def future():
        batch.restore(range(32), states)
        return play(batch, actions).obs.state

    at_rest = future()
    assert torch.equal(future(), at_rest)


def test_restoring_some_scenes_leaves_the_others_alone():
    batch = make_batch(4)
    states = batch.initial_states(0)
    actions = random_actions(batch, 20)
    batch.restore(range(4), states)
    undisturbed = play(batch, actions).obs.state
    batch.restore(range(4), states)
    first = play(batch, actions[:10]).obs.state
    batch.restore([1, 3], states[[3, 1]])
    then = play(batch, actions[10:]).obs.state
    assert torch.equal(torch.cat([first, then])[:, [0, 2]], undisturbed[:, [0, 2]])
    assert not torch.equal(then[:, [1, 3]], undisturbed[10:, [1, 3]])


def test_contacts_are_unknown_right_after_a_restore(grasped):
    batch, states = grasped
    batch.restore(range(3), states)
    assert states.obs.state[:, IS_GRASPED].all()
    assert not batch.env.get_obs(batch.env.get_info())[:, IS_GRASPED].any()
    held = batch.step(grasp(states.obs.state, 20)).obs.state
    assert held[:, IS_GRASPED].all()


def test_the_cube_stays_in_hand_after_a_restore(grasped):
    batch, states = grasped
    batch.restore(range(3), states)
    steps, _ = drive(batch, grasp, states.obs.state, 20, 20)
    assert steps.obs.state[:, :, IS_GRASPED].all()
    assert ((steps.obs.state[-1, :, CUBE] - steps.obs.state[-1, :, TCP]).norm(dim=1) < 0.03).all()


def test_inactive_scenes_do_not_move():
    batch = make_batch(4)
    start = batch.initial_states(0).obs.state
    batch.activate(range(2))
    obs = play(batch, random_actions(batch, 3)).obs.state[-1]
    assert torch.equal(obs[2:], start[2:])
    assert (obs[:2] != start[:2]).any(1).all()
    batch.activate(range(4))
    assert (batch.step(random_actions(batch, 1)[0]).obs.state[2:] != start[2:]).any(1).all()


@pytest.mark.parametrize("task", ["PickCube-v1", "StackCube-v1", "PickCubeSO100-v1"])
@pytest.mark.parametrize("rows", [[0, 2], [2, 0]])
def test_states_of_the_gpu_adapter_restore_observations(task, rows):
    """`CudaPhysics` keeps ManiSkill's own state vector; exercised here on CPU scenes. Rows come in any order."""
    batch = make_batch(4, task=task)
    batch._physics = CudaPhysics(batch.env)
    batch.initial_states(0)
    states = snapshot(batch, play(batch, random_actions(batch, 10)).obs.state[-1])
    batch.initial_states(1)
    batch.restore(rows, states[rows])
    obs = batch.env.get_obs(batch.env.get_info())
    contact = [IS_GRASPED] if task == "PickCube-v1" else []
    columns = [i for i in range(batch.spec.obs_dim) if i not in contact]
    torch.testing.assert_close(obs[rows][:, columns], states.obs.state[rows][:, columns], atol=1e-5, rtol=0)
