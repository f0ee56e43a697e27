"""ManiSkill tasks through the adapter: initial states, workers, evaluation, and what goes wrong in one sentence."""

import re
from zipfile import BadZipFile

import pytest
import requests
import torch

from rlft.envs import ManiSkill
from rlft.envs.initial_states import EVALUATION, InitialStates
from rlft.envs.maniskill.building import enable_gpu
from rlft.errors import UserError
from rlft.networks import GaussianActor
from rlft.rollout import LocalRollouts, make_rollouts
from tests.support.rollouts import assert_equal
from tests.support.stock_maniskill import make_batch, play, random_actions
from tests.support.warm import Warm, run_code

pytestmark = pytest.mark.maniskill


@pytest.fixture
def actor():
    torch.manual_seed(0)
    return GaussianActor(42, 8, hidden_dim=32)


def run_alone(code: str, **environment: str) -> tuple[str, str]:
    """What `code` prints in a process without a simulator yet, nor a terminal to answer questions on."""
    return Warm(run_code, code, environment=environment).communicate()


# ---- initial states ----------------------------------------------------------------------------------------------

EPISODES = [0, 1, 63, 64, 65, 128]  # a block of the bank has 64


@pytest.fixture(scope="module")
def bank():
    return InitialStates(ManiSkill(device="cpu"))


def test_initial_states_do_not_depend_on_the_order_of_queries(bank):
    backwards = InitialStates(ManiSkill(device="cpu"))
    reverse = torch.cat([backwards.get(EVALUATION, 5, [e]).physics for e in reversed(EPISODES)])
    together = bank.get(EVALUATION, 5, EPISODES)
    assert torch.equal(together.physics, reverse.flip(0))
    assert together.episode.tolist() == EPISODES
    assert together.elapsed.tolist() == [0] * len(EPISODES)


def test_every_episode_begins_differently(bank):
    states = bank.get(EVALUATION, 5, range(130))
    assert len(states.obs.state.unique(dim=0)) == 130
    assert not (states.obs.state == bank.get(EVALUATION, 6, range(130)).obs.state).all(1).any()


def test_initial_states_show_what_they_restore(bank):
    batch, states = make_batch(3), bank.get(EVALUATION, 5, [64, 2, 63])
    batch.restore(range(3), states)
    torch.testing.assert_close(batch.env.get_obs(batch.env.get_info()), states.obs.state, atol=1e-6, rtol=0)


# ---- workers and evaluation --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_process():
    """10 environments, 60 steps (episodes last 50), one evaluation: what any number of workers must reproduce."""
    return acted(num_workers=0)


def acted(num_workers: int):
    torch.manual_seed(0)
    actor = GaussianActor(42, 8, hidden_dim=32)
    rollouts = make_rollouts(ManiSkill(device="cpu"), 10, num_workers)
    try:
        rollout, states, _ = rollouts.collect(actor, rollouts.initial_states(1), 60, seed=1, iteration=0)
        return rollout, states, rollouts.evaluate(actor, 13, seed=5, deterministic=False)
    finally:
        rollouts.close()


def test_rollouts_cross_the_ends_of_episodes(in_process):
    rollout, states, results = in_process
    assert rollout.obs.state.shape == (60, 10, 42)
    assert rollout.obs.state.isfinite().all()
    assert rollout.truncated[49].any()
    assert (states.episode >= 10).any()
    assert len(results) == 13


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_number_of_workers_changes_nothing(in_process, num_workers):
    for ours, reference in zip(acted(num_workers), in_process, strict=True):
        assert_equal(ours, reference)


def test_evaluation_leaves_training_undisturbed(actor):
    rollouts = LocalRollouts(ManiSkill(device="cpu"), 4)

    def train(*, evaluate: bool):
        first, states, _ = rollouts.collect(actor, rollouts.initial_states(1), 10, seed=1, iteration=0)
        if evaluate:
            rollouts.evaluate(actor, 3, seed=5, deterministic=True)
        return first, *rollouts.collect(actor, states, 10, seed=1, iteration=1)

    for with_evaluation, without in zip(train(evaluate=True), train(evaluate=False), strict=True):
        assert_equal(with_evaluation, without)


def test_tasks_used_one_after_the_other_do_not_disturb_each_other():
    def steps(task: str) -> torch.Tensor:
        batch = make_batch(2, task=task)
        batch.initial_states(0)
        return play(batch, random_actions(batch, 5)).obs.state

    alone = steps("PickCube-v1")
    steps("PushCube-v1")
    assert torch.equal(steps("PickCube-v1"), alone)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_adapter_serves_the_gpu(actor):
    rollouts = LocalRollouts(ManiSkill(device="cuda"), 16)
    actor = actor.to("cuda")
    rollout, states, _ = rollouts.collect(actor, rollouts.initial_states(1), 60, seed=1, iteration=0)
    assert rollout.obs.state.isfinite().all()
    assert (rollout.next_obs.state != rollout.obs.state).any(-1).all()
    torch.testing.assert_close(rollout.obs.state[0], rollouts.initial_states(1).obs.state, atol=1e-4, rtol=0)
    assert len(states) == 16
    assert len(rollouts.evaluate(actor, 20, seed=5, deterministic=True)) == 20


# ---- what a user may get wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"task": "PickCub-v1"}, "PickCub-v1.*did you mean PickCube-v1"),
        ({"control_mode": "pd_joint_delta"}, "pd_joint_delta.*pd_joint_delta_pos"),
        ({"robot": "pandas"}, "pandas.*not found"),
        ({"reward_mode": "spars"}, "spars"),
        ({"task": "MS-AntWalk-v1", "control_mode": None}, "sparse"),
        ({"task": "TwoRobotPickCube-v1"}, "TwoRobotPickCube-v1.*(robot|action)"),
    ],
)
def test_an_impossible_choice_is_explained(config, said):
    with pytest.raises(UserError) as error:
        make_batch(2, **config)
    assert re.search(said, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a CUDA device")
def test_a_simulation_on_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"no CUDA device here.*--data\.env\.device.*--env_settings\.device"):
        ManiSkill(device="cuda").make(2)


@pytest.mark.parametrize("error", [requests.exceptions.ConnectionError("no name"), BadZipFile("not a zip file")])
def test_a_gpu_whose_library_cannot_be_fetched_is_explained(error, monkeypatch):
    import sapien.physx

    def fail():
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sapien.physx, "enable_gpu", fail)
    with pytest.raises(UserError, match=r"library for GPUs.*unzip .*linux-so\.zip.*--env_settings\.device"):
        enable_gpu()


def test_no_environments_are_refused():
    with pytest.raises(UserError, match="at least one"):
        make_batch(0)


def test_a_task_without_a_time_limit_is_refused(monkeypatch):
    make_batch(1)  # registers the tasks
    from mani_skill.utils.registration import REGISTERED_ENVS

    monkeypatch.setattr(REGISTERED_ENVS["PickCube-v1"], "max_episode_steps", None)
    with pytest.raises(UserError, match="no time limit"):
        make_batch(1)


def test_scenes_that_differ_in_more_than_their_state_are_refused():
    """Every scene of PegInsertionSide has a peg of its own size, so a state of one scene means nothing in another."""
    with pytest.raises(UserError, match=r"PegInsertionSide-v1.*scene"):
        ManiSkill(task="PegInsertionSide-v1", device="cpu").make(2)


BUILD = """
from rlft.envs import ManiSkill
from rlft.errors import UserError
try:
    print(ManiSkill(task={task!r}, device="cpu").make(2).spec.obs_dim)
except UserError as error:
    print("UserError:", error)
"""


@pytest.mark.parametrize("task", ["PickSingleYCB-v1", "TurnFaucet-v1"])
def test_missing_assets_are_named_and_nothing_is_asked(task, tmp_path):
    printed, errors = run_alone(BUILD.format(task=task), MS_ASSET_DIR=str(tmp_path))
    assert f"UserError: Task {task}" in printed, printed + errors
    assert f"download_asset {task}" in printed, printed


@pytest.mark.parametrize(("task", "obs_dim"), [("PickCube-v1", 42), ("StackCube-v1", 48)])
def test_no_vulkan_is_needed(task, obs_dim):
    """StackCube's robot comes from a URDF with materials, which PickCube's does not."""
    nowhere = {"VK_ICD_FILENAMES": "/nowhere.json", "VK_DRIVER_FILES": "/nowhere.json"}
    printed, errors = run_alone(BUILD.format(task=task), **nowhere)
    assert printed.splitlines()[-1:] == [str(obs_dim)], printed + errors
