"""LiftCube-v1: as stock ManiSkill steps it, restored to the bit, counted once a step, and lifted by a script."""

import json
from functools import cache

import pytest
import torch

from rlft.data.rollout_datamodule import episode_metrics
from rlft.envs import ManiSkill
from rlft.envs.maniskill.building import registered
from rlft.errors import UserError
from rlft.networks import DiagonalGaussianActor
from rlft.rollout import LocalRollouts
from rlft.statistics.evaluations import summarize
from rlft.tasks.lift_rewards import VERSIONS, maximum
from rlft.types import EnvStates
from tests.support.hand_made import is_sentence
from tests.support.rollouts import assert_equal
from tests.support.stock_maniskill import (
    assert_same_steps,
    make_batch,
    play,
    random_actions,
    reset_like_stock,
    snapshot,
    stock_steps,
)

pytestmark = pytest.mark.maniskill

ROBOTS = ("panda_xyz", "so100_xyz")
REST = {"panda_xyz": 0.010, "so100_xyz": 0.0125}
TCP, TILT, CUBE = slice(-9, -6), slice(-6, -3), slice(-3, None)  # columns of an observation


def config(robot, reward_mode="dense", **options):
    return ManiSkill("LiftCube-v1", "pd_xyz", reward_mode, robot, device="cpu", task_options=options)


@cache
def batch_of(robot, num_envs=2):
    """Shared by tests that do not mind what was played before."""
    return config(robot).make(num_envs)


def lift(obs, t):
    """Above the cube, down, close at step 28, up from 40: actions `[N, 4]`, of 2 cm and a half-open gripper."""
    target = obs[:, CUBE] - obs[:, TCP]
    if t < 12:
        target = target + torch.tensor([0, 0, 0.05])
    if t >= 40:
        target = torch.tensor([0, 0, 0.02]) * (obs[:, CUBE][:, 2:] < 0.10)
    gripper = torch.full((len(obs), 1), 0.2 if t < 28 else -1.0)
    return torch.cat([target / 0.02, gripper], 1).clamp(-1, 1)


class Scripted(DiagonalGaussianActor):
    """Policies without a clock, told apart by how far they go: all but `rest` go to the cube.

    `hover` stays 3 cm above it, open; `close` does so closed; `hold` grasps it, and `dip` lifts it time and again.
    """

    def __init__(self, script):
        super().__init__(1, torch.full((4,), -5.0))
        self.script = script

    def forward(self, obs):
        tcp, cube = obs.state[..., TCP], obs.state[..., CUBE]
        offset = cube - tcp
        aside = offset[..., :2].norm(dim=-1, keepdim=True)
        height = 0.03 if self.script in ("hover", "close") else 0.0
        above = torch.where(aside > 0.008, torch.full_like(aside, 0.05), torch.full_like(aside, height))
        at_it = offset.norm(dim=-1, keepdim=True) < 0.006
        move = (offset + torch.cat([torch.zeros_like(offset[..., :2]), above], -1)) / 0.02
        closes = at_it if height == 0 else torch.full_like(at_it, self.script == "close")
        gripper = torch.where(closes, -1.0, 0.2)
        raises = closes & (obs.state[..., [7]] < 0.0115)  # its fingers are at the cube
        if self.script == "pick":
            move[..., 2:] = torch.where(raises, 1.0 * (cube[..., 2:] < 0.10), move[..., 2:])
        if self.script == "dip":
            move[..., 2:] = torch.where(raises, 1.0, move[..., 2:])
            gripper = torch.where(cube[..., 2:] > 0.085, 1.0, gripper)
        if self.script == "rest":
            move, gripper = torch.zeros_like(move), torch.full_like(gripper, 0.2)
        return torch.cat([move, gripper], -1).clamp(-1, 1)


def lifting(batch, obs, start, end):
    """The steps of the script, a list."""
    steps = []
    for t in range(start, end):
        steps.append(batch.step(lift(obs, t)))
        obs = steps[-1].obs.state
    return steps


# ---- as other tasks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("robot", "numbers"), [("panda_xyz", 27), ("so100_xyz", 21)])
def test_what_is_seen_and_done(robot, numbers):
    batch = batch_of(robot)
    assert (batch.spec.obs_dim, batch.spec.action_dim, batch.spec.max_episode_steps) == (numbers, 4, 100)
    assert (batch.spec.robot, batch.spec.control_mode) == (robot, "pd_xyz")
    obs, env = batch.initial_states(0).obs.state, batch.env
    torch.testing.assert_close(obs[:, TCP], env.agent.tcp_pose.p)
    torch.testing.assert_close(obs[:, CUBE], env.cube.pose.p)
    assert (obs[:, TILT].abs() < 0.2).all()  # nearly straight down, far from where angles jump
    assert obs[0, -1] == pytest.approx(REST[robot])


@pytest.mark.parametrize("robot", ROBOTS)
def test_an_episode_equals_stock(robot):
    """The same kinematics for a batch and for one: with joint control this is to the bit."""
    batch = batch_of(robot)
    states = reset_like_stock(batch, seed=7)
    batch.restore(range(2), states)
    actions = random_actions(batch, 30)
    ours = play(batch, actions)
    assert ours.reward.std() > 0
    assert_same_steps(ours, stock_steps(config(robot), states, actions, seed=7))


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_restored_hold_goes_on_as_it_was(robot):
    """Counters, the last action and the grasp come back, in other scenes with another past, to the bit."""
    batch, other = batch_of(robot), batch_of(robot, 3)
    steps = lifting(batch, batch.initial_states(3).obs.state, 0, 54)
    held = batch.env._held.clone()
    assert ((held > 0) & (held < 10)).all(), held
    states = snapshot(batch, steps[-1].obs.state, elapsed=54)
    batch.restore(range(2), states)
    future = torch.stack([step.reward for step in lifting(batch, states.obs.state, 54, 66)])
    ended = batch.env._held.tolist()

    other.initial_states(4)
    play(other, random_actions(other, 7))
    other.restore([2, 0], states)
    obs = other._task_state.save([2, 0])
    assert torch.equal(obs, states.task)
    elsewhere = EnvStates.cat([states[[1]], states[[0]], states[[0]]])
    other.restore([0, 1, 2], elsewhere)
    again = torch.stack([step.reward for step in lifting(other, elsewhere.obs.state, 54, 66)])
    assert torch.equal(again[:, [2, 0]], future)
    assert ended == [10, 10]


# ---- counting ----------------------------------------------------------------------------------------------------


def test_success_is_ten_steps_in_a_row_and_is_counted_once_a_step():
    batch = batch_of("panda_xyz")
    env, obs, counts = batch.env, batch.initial_states(3).obs.state, []
    for t in range(80):
        step = batch.step(lift(obs, t))
        obs = step.obs.state
        again = [env.evaluate() for _ in range(2)][-1]  # as a reset of other scenes does
        assert torch.equal(again["success"], step.success)
        counts.append(again["hold_count"][0].item())
        assert step.success[0] == (counts[-1] == 10)
        assert torch.equal(again["cube_z"], obs[:, -1])
    first = counts.index(1)
    assert counts[first : first + 10] == list(range(1, 11))
    assert set(counts[:first]) == {0}
    assert set(counts[first + 9 :]) == {10}
    release = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(2, 4)
    falling = [batch.step(release) for _ in range(4)]
    assert not falling[-1].success.any()
    assert env.evaluate()["hold_count"].tolist() == [0, 0]


def test_a_reset_forgets():
    batch = batch_of("panda_xyz")
    fresh = batch.initial_states(3)
    lifting(batch, fresh.obs.state, 0, 56)
    assert batch.env._held.any()
    again = batch.initial_states(3)
    assert torch.equal(again.task, fresh.task)
    assert_equal(again.obs, fresh.obs)


# ---- rewards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_terms_are_in_info_and_add_up(version):
    batch = batch_of("panda_xyz")
    env, obs = batch.env, batch.initial_states(3).obs.state
    before, env.reward_version = env.reward_version, version
    try:
        for t in range(62):
            action = lift(obs, t)
            obs, reward, _, _, info = env.step(action)
            terms = {name: value for name, value in info.items() if name.startswith("reward/")}
            torch.testing.assert_close(sum(terms.values()), reward)
            state = (env._previous_action.clone(), env._action.clone())
            share = env.compute_normalized_dense_reward(obs, action, dict(info))  # once more: nothing is counted twice
            torch.testing.assert_close(share * maximum(version, 0.07, 10), reward)
            assert torch.equal(env._previous_action, state[0])
            assert torch.equal(env._action, action)
        assert info["success"].all()
        assert (terms["reward/success"] == 10).all()
        assert ((share > 0.9) & (share < 1.3)).all()  # above the goal height pays on
    finally:
        env.reward_version = before


@pytest.mark.parametrize("reward_mode", ["dense", "normalized_dense"])
def test_the_terms_of_a_rollout_add_up_to_its_reward(reward_mode):
    """In either mode: those of `normalized_dense` are shares as the reward is."""
    rollouts = LocalRollouts(config("panda_xyz", reward_mode, start="near"), 2)
    rollout, *_ = rollouts.collect(Scripted("pick"), rollouts.initial_states(1), 80, 1, 0)
    found = episode_metrics(rollout, rollouts.spec)
    terms = {name.removeprefix("reward/"): value for name, value in found.items() if name.startswith("reward/")}
    assert {"reach", "grasp", "lift", "success"} <= terms.keys()
    assert sum(terms.values()) == pytest.approx(found["train/reward"], rel=1e-5)
    assert (rollout.reward.max() > 10) == (reward_mode == "dense")
    assert terms["success"] > 0
    assert config("panda_xyz", reward_mode).make(2).spec.reward_definition == rollouts.spec.reward_definition


@cache
def stored():
    """Numbers that steps under a sparse reward have told, by name, and its definition."""
    batch = config("panda_xyz", "sparse").make(2)
    told = torch.stack([step.info for step in lifting(batch, batch.initial_states(3).obs.state, 0, 60)])
    inputs = {name: told[..., column] for name, column in batch.spec.named("reward_input/").items()}
    return inputs, json.loads(batch.spec.reward_definition)


@pytest.mark.parametrize(
    ("mode", "version"),
    [*(("dense", version) for version in VERSIONS), ("normalized_dense", VERSIONS[-1]), ("sparse", VERSIONS[0])],
)
def test_stored_rewards_are_computed_again_to_the_bit(mode, version):
    """Under every definition, from the numbers that steps under another one have told; a mode scales all alike."""
    inputs, before = stored()
    assert "version" not in before
    other = config("panda_xyz", mode, reward_version=version).make(2)
    steps = lifting(other, other.initial_states(3).obs.state, 0, 60)
    found = registered("LiftCube-v1").cls.reward_again(mode, json.loads(other.spec.reward_definition), before, inputs)
    assert torch.equal(found, torch.stack([step.reward for step in steps]))


def test_rewards_of_another_success_are_not_computed_again():
    with pytest.raises(UserError, match="another success: hold_steps was 10, and is 5 here"):
        registered("LiftCube-v1").cls.reward_again(
            "sparse", {"goal": 0.07, "hold_steps": 5}, {"goal": 0.07, "hold_steps": 10}, {}
        )


# ---- what is told of a policy --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("rest", "never_comes_near"),
        ("hover", "hovers_open_handed"),
        ("close", "closes_beside_it"),
        ("hold", "grasps_but_does_not_lift"),
        ("dip", "lifts_but_does_not_hold"),
    ],
)
def test_what_failed_episodes_are_called(script, kind):
    found = told_of(script)
    assert found[f"failed/{kind}"] == 1, found


def test_a_policy_that_lifts_fails_in_nothing():
    found = told_of("pick")
    assert found["success_rate"] == 1
    assert sum(value for name, value in found.items() if name.startswith("failed/")) == 0
    assert found["behaviour/longest_hold"] == 10
    assert found["behaviour/max_cube_z"] > 0.08
    assert 0 < found["behaviour/grasp_share"] < 1
    assert found["behaviour/min_cube_z"] == pytest.approx(0.010, abs=5e-4)


def told_of(script):
    """Of two episodes of a script, from the table."""
    rollouts = shared_rollouts()
    return summarize(rollouts.evaluate(Scripted(script), 2, seed=1, deterministic=True), rollouts.spec.behaviour)


@cache
def shared_rollouts():
    return LocalRollouts(config("panda_xyz"), 2)


def test_letting_go_costs_once():
    batch = batch_of("panda_xyz")
    lifting(batch, batch.initial_states(3).obs.state, 0, 50)
    release = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(2, 4)
    drops = [batch.env.step(release)[4]["reward/drop"].tolist() for _ in range(5)]
    assert [sum(scene) for scene in zip(*drops, strict=True)] == [-2.0, -2.0]


# ---- robots ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_actions_move_the_gripper_along_the_axes_of_the_world(robot, axis, sign):
    """Three steps of 2 cm; drives lag behind, so 25% to 110% of the way is accepted, and 1 cm across."""
    batch = batch_of(robot)
    batch.initial_states(0)
    batch.step(torch.zeros(2, 4))  # the gripper's own motion shifts the middle of an SO-100's tips
    batch.step(torch.zeros(2, 4))
    start = batch.env.agent.tcp_pose.p.clone()
    action = torch.zeros(2, 4)
    action[:, axis] = sign
    play(batch, [action] * 3)
    moved = sign * (batch.env.agent.tcp_pose.p - start)
    across = [i for i in range(3) if i != axis]
    assert ((moved[:, axis] > 0.25 * 0.06) & (moved[:, axis] < 1.1 * 0.06)).all(), moved
    assert (moved[:, across].abs() < 0.01).all(), moved


def test_the_wrist_of_an_so100_does_not_roll():
    batch = batch_of("so100_xyz")
    batch.initial_states(0)
    obs = play(batch, random_actions(batch, 30)).obs.state
    assert (obs[10:, :, 4] - torch.pi / 2).abs().max() < 0.02


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_start_near_the_cube_is_3_cm_above_it_and_still(robot):
    batch = config(robot, start="near").make(16)
    obs = batch.initial_states(0).obs.state
    offset = obs[:, TCP] - obs[:, CUBE]
    torch.testing.assert_close(offset, torch.tensor([0.0, 0.0, 0.03]).expand(16, 3), atol=1e-4, rtol=0)
    assert len(obs[:, CUBE].unique(dim=0)) == 16
    rest = batch.spec.obs_dim - 9
    assert (obs[:, rest // 2 : rest] == 0).all()  # speeds
    stay = torch.tensor([[0.0, 0.0, 0.0, 0.57]]).expand(16, 4)  # a gripper as open as it is there
    later = play(batch, [stay] * 3).obs.state[-1]
    torch.testing.assert_close(later[:, CUBE], obs[:, CUBE], atol=1e-4, rtol=0)  # it does not touch the cube


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reward_version": "v6"}, "task_options.reward_version is v6; it must be one of v1, v2, v3, v4, v5, v11, v19"),
        ({"start": "far"}, "task_options.start is far; it must be one of table, near"),
        ({"lift_height": 0.02}, "task_options.lift_height is 0.02; it must be at least 0.04 above"),
        ({"hold_steps": 0}, "task_options.hold_steps is 0; it must be at least 1"),
        ({"cube_half_size": -1}, "task_options.cube_half_size is -1; it must be above 0"),
        ({"size": 1}, "has no option 'size'; its task_options are reward_version, cube_half_size, lift_height"),
    ],
)
def test_what_it_does_not_have_is_refused(options, said):
    with pytest.raises(UserError, match=said) as refused:
        config("panda_xyz", **options).make(1)
    assert is_sentence(str(refused.value))


def test_other_robots_and_a_near_start_under_other_controllers_are_refused():
    with pytest.raises(UserError, match="LiftCube-v1 has no robot fetch; choose panda_xyz or so100_xyz"):
        config("fetch").make(1)
    with pytest.raises(UserError, match="start near needs control_mode pd_xyz"):
        make_batch(1, task="LiftCube-v1", control_mode="pd_joint_delta_pos", task_options={"start": "near"})


# ---- it can be done ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("start", ["table", "near"])
def test_a_script_lifts_32_of_32(robot, start):
    batch = config(robot, "sparse", start=start).make(32)
    steps = lifting(batch, batch.initial_states(0).obs.state, 0, 80)
    assert torch.stack([step.success for step in steps]).any(0).all()
    lowest = min(step.obs.state[:, -1].min().item() for step in steps)
    assert lowest > REST[robot] - 5e-4  # fingers do not press a cube into this table
