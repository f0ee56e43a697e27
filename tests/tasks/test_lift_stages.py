"""Stages of LiftCube-v1: what they promise holds after a restore, and episodes go on from there."""

from functools import cache

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.envs.initial_states import BLOCK, STAGES, TRAINING, InitialStates
from rlft.rollout import LocalRollouts, ProcessRollouts
from rlft.types import StartMixture
from tests.support.hand_made import ConstantActor
from tests.support.rollouts import assert_equal
from tests.tasks.test_lift_cube import CUBE, REST, ROBOTS, TCP, config

pytestmark = pytest.mark.maniskill

ALL = ("near", "grasped", "elevated", "lifted")
COUNT = 8
OPENING = torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(COUNT, 4)
HOLDING = torch.tensor([[0.0, 0.0, 0.0, -1.0]]).expand(COUNT, 4)


@cache
def bank(robot):
    return InitialStates(config(robot, "dense"))


@cache
def ends(robot, stage):
    """Of one block of preludes: where they led, and which of them arrived."""
    return bank(robot)._played(bank(robot)._draw(STAGES, 1, 0), stage)


@cache
def batch_of(robot):
    return config(robot, "dense").make(COUNT)


def restored(robot, stage):
    """Scenes that were put into a stage, and the states."""
    states, arrived = ends(robot, stage)
    batch = batch_of(robot)
    batch.restore(range(COUNT), states[arrived][:COUNT])
    return batch, states[arrived][:COUNT]


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("stage", ALL)
def test_nearly_all_preludes_arrive(robot, stage):
    _, arrived = ends(robot, stage)
    assert arrived.sum() >= 0.9 * BLOCK
    assert batch_of(robot).spec.stages == ALL


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize(
    ("stage", "low", "high"), [("grasped", 0, 0.01), ("elevated", 0.015, 0.045), ("lifted", 0.07, 0.09)]
)
def test_the_cube_is_held_at_the_height_of_the_stage_and_stays_there(robot, stage, low, high):
    batch, states = restored(robot, stage)
    step = batch.step(HOLDING)  # an episode's first: before it, contacts are not known
    for obs in (states.obs.state, step.obs.state):
        raised = obs[:, -1] - REST[robot]
        assert (raised > low - 1e-3).all()
        assert (raised < high).all(), raised
    assert batch.env.evaluate()["is_grasped"].all()
    assert not batch.env._dropped.any()
    assert len(states.obs.state[:, CUBE][:, :2].unique(dim=0)) == COUNT


@pytest.mark.parametrize("robot", ROBOTS)
def test_heights_of_elevated_cubes_cover_their_range(robot):
    states, arrived = ends(robot, "elevated")
    raised = states.obs.state[arrived][:, -1] - REST[robot]
    assert raised.min() < 0.023
    assert raised.max() > 0.037
    assert raised.std() > 0.004


@pytest.mark.parametrize("robot", ROBOTS)
def test_near_is_open_and_three_centimetres_above(robot):
    batch, states = restored(robot, "near")
    offset = states.obs.state[:, TCP] - states.obs.state[:, CUBE]
    assert offset[:, :2].abs().max() < 0.005
    assert (offset[:, 2] - 0.03).abs().max() < 0.005
    assert (batch.env.agent.opening > 2 * 2 * REST[robot]).all()
    assert not batch.env.evaluate()["is_grasped"].any()


@pytest.mark.parametrize("robot", ROBOTS)
def test_success_is_counted_from_the_start_of_the_episode(robot):
    """A lifted cube has been held for some steps of the prelude, which do not count."""
    batch, states = restored(robot, "lifted")
    assert not states.elapsed.any()
    assert not batch.env._held.any()
    successes = torch.stack([batch.step(HOLDING).success for _ in range(10)])
    assert successes.sum(0).tolist() == [1] * COUNT
    assert successes[9].all()


@pytest.mark.parametrize("robot", ROBOTS)
def test_to_let_go_of_a_lifted_cube_is_to_drop_it(robot):
    batch, _ = restored(robot, "lifted")
    drops = torch.stack([batch.env.step(OPENING)[4]["reward/drop"] for _ in range(8)])
    assert drops.sum(0).tolist() == [-2.0] * COUNT


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_start_is_that_of_any_scene_at_any_time(robot):
    """Restored elsewhere, after another past, the same actions lead to the same future, to the bit."""
    batch, states = restored(robot, "elevated")
    actions = torch.rand(6, COUNT, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first = [batch.step(action) for action in actions]
    other = [*range(1, COUNT), 0]
    batch.restore(other, states)
    order = torch.tensor(other).argsort()
    again = [batch.step(action[order]) for action in actions]
    for one, two in zip(first, again, strict=True):
        assert_equal(two[other], one)


def test_a_bank_does_not_depend_on_what_was_asked_of_it_before():
    other = InitialStates(config("so100_xyz", "dense"))
    other._played(other._draw(STAGES, 1, 0), "near")
    states, arrived = other._played(other._draw(STAGES, 1, 0), "grasped")
    assert_equal(states, ends("so100_xyz", "grasped")[0])
    assert torch.equal(arrived, ends("so100_xyz", "grasped")[1])


@pytest.mark.slow
def test_rollouts_from_stages_are_the_same_in_any_number_of_processes():
    task, starts = config("so100_xyz", "sparse"), StartMixture.even(("near",), 0.5)

    def play(rollouts):
        states = rollouts.initial_states(1, starts)
        return rollouts.collect(ConstantActor([0.0, 0.0, 0.2, -1.0], -2.0), states, 12, 1, 0, starts=starts)[:2]

    workers = ProcessRollouts(task, 6, 2)
    one, other = play(LocalRollouts(task, 6)), play(workers)
    workers.close()
    offset = one[0].obs.state[0, :, TCP] - one[0].obs.state[0, :, CUBE]
    assert 0 < (offset.norm(dim=1) < 0.04).sum() < 6
    for ours, theirs in zip(one, other, strict=True):
        assert_equal(ours, theirs)


def test_other_controllers_have_no_stages():
    task = ManiSkill("LiftCube-v1", "pd_joint_delta_pos", device="cpu")
    assert task.make(1).spec.stages == ()
    assert ManiSkill(device="cpu").make(1).spec.stages == ()


def test_ordinary_starts_are_as_they_were():
    task = config("so100_xyz", "dense")
    assert_equal(bank("so100_xyz").get(TRAINING, 3, range(4)), InitialStates(task).get(TRAINING, 3, range(4)))
