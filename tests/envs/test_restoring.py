"""A restore gives back everything the future depends on, or the task is refused with what is missing."""

import dataclasses

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.envs.maniskill import ManiSkillBatch
from rlft.envs.maniskill.headless import allow_no_renderer
from rlft.errors import UserError
from rlft.types import EnvStates
from tests.support.hand_made import is_sentence
from tests.support.stock_maniskill import play, random_actions, snapshot

pytestmark = pytest.mark.maniskill


@pytest.fixture(scope="module", autouse=True)
def _tasks():
    allow_no_renderer()
    import tests.support.remembering_tasks  # noqa: F401  registers them


def config(task):
    return ManiSkill(task, device="cpu")


CARRIED = ["CountsInDict-v1", "CountsLazily-v1", "CountsAnew-v1", "CountsInArray-v1"]


@pytest.mark.parametrize("task", CARRIED)
def test_what_a_task_counts_is_part_of_its_state(task):
    """The reward is the number of steps of the episode: 6 after a state of 5 steps, 1 after an initial one."""
    batch, other = config(task).make(2), config(task).make(3)
    starts = batch.initial_states(0)
    states = snapshot(batch, play(batch, random_actions(batch, 5)).obs.state[-1], elapsed=5)
    both = EnvStates.cat([states[[0]], starts[[1]], states[[1]]])
    other.restore(range(3), both)  # in scenes that have never made a step
    assert play(other, random_actions(other, 2)).reward.tolist() == [[6, 1, 6], [7, 2, 7]]
    other.restore([0, 2], both[[1, 0]])
    assert play(other, random_actions(other, 1)).reward.tolist() == [[1, 3, 6]]


@pytest.mark.parametrize("task", CARRIED)
def test_initial_states_do_not_depend_on_what_was_played_before(task):
    batch = config(task).make(2)
    fresh = batch.initial_states(3)
    play(batch, random_actions(batch, 4))
    assert torch.equal(batch.initial_states(3).task, fresh.task)


@pytest.mark.parametrize(
    ("task", "attribute"),
    [
        ("CountsInList-v1", "counts.0"),
        ("CountsInObject-v1", "tracker.steps"),
        ("CountsForAll-v1", "clock"),
        ("CountsFromTen-v1", ""),
        ("DrawTriangle-v1", "draw_step"),
    ],
)
def test_what_cannot_be_restored_is_refused_by_name(task, attribute):
    settings = ManiSkill(task, control_mode=None, device="cpu")
    with pytest.raises(UserError, match=f"Task {task}: from the same restored state") as refused:
        settings.make(2)
    assert attribute in str(refused.value)
    assert is_sentence(str(refused.value))
    batch = ManiSkillBatch(settings, 2)  # without restores it runs
    batch.initial_states(0)
    assert play(batch, random_actions(batch, 2)).obs.state.isfinite().all()


def test_a_number_that_outlives_episodes_is_left_alone():
    assert config("LogsForever-v1").make(2).num_envs == 2


def test_an_error_in_a_tasks_step_is_explained_with_its_place():
    with pytest.raises(UserError, match=r"Breaks-v1 .*cannot make a step here: pop from empty list") as refused:
        config("Breaks-v1").make(2)
    assert "IndexError in remembering_tasks.py, line" in str(refused.value)


def test_a_state_of_another_layout_is_refused():
    batch = config("PickCube-v1").make(1)
    states = batch.initial_states(0)
    with pytest.raises(UserError, match="holds 17 numbers beside the physics where this task has 18"):
        batch.restore([0], dataclasses.replace(states, task=states.task[:, 1:]))
