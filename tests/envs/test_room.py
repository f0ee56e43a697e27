"""As many processes as the scenes need, or a sentence; never a process that dies."""

import gc
from contextlib import closing

import pytest
import torch

from rlft.envs import ManiSkill, PointReach
from rlft.errors import UserError
from rlft.rollout import LocalRollouts, ProcessRollouts, make_rollouts, worker_process
from tests.support.rollouts import assert_equal, policy
from tests.support.small_processes import ThreePerProcess


@pytest.fixture
def workers():
    opened = []

    def make(num_envs, num_workers):
        opened.append(make_rollouts(ThreePerProcess(), num_envs, num_workers))
        return opened[-1]

    yield make
    for rollouts in opened:
        rollouts.close()


@pytest.mark.parametrize(
    ("num_envs", "num_workers", "shares"),
    [(7, 1, [2, 2, 3]), (6, 1, [3, 3]), (3, 1, [3]), (7, 4, [1, 2, 2, 2])],
)
def test_processes_are_as_many_as_the_environments_need(workers, capfd, num_envs, num_workers, shares):
    assert [len(share) for share in workers(num_envs, num_workers).shares] == shares
    said = f"{num_envs} environments need {len(shares)} processes of at most 3; 1 was asked for."
    assert (said in capfd.readouterr().err) == (len(shares) > num_workers)


def test_more_processes_change_no_result(workers):
    local, spread = LocalRollouts(PointReach(), 7), workers(7, 1)
    for ours, theirs in zip(
        *(r.collect(policy(), r.initial_states(1), 30, 1, 0)[:2] for r in (local, spread)), strict=True
    ):
        assert_equal(ours, theirs)


def test_one_process_refuses_what_does_not_fit():
    with pytest.raises(UserError, match=r"4 environments .* room for 3; set num_workers to at least 2"):
        make_rollouts(ThreePerProcess(), 4, 0)
    assert make_rollouts(ThreePerProcess(), 3, 0).num_envs == 3


def test_only_cpu_scenes_have_a_limit():
    assert ManiSkill(device="cuda").scenes_per_process() is None
    assert PointReach().scenes_per_process() is None
    assert ManiSkill(device="cpu").scenes_per_process() == 800


def test_by_default_one_process_drives_a_gpu_and_every_core_has_one_of_its_own(monkeypatch):
    monkeypatch.setattr(worker_process, "available_cores", lambda: 3)
    for gpu, kind in ((True, LocalRollouts), (False, ProcessRollouts)):
        monkeypatch.setattr(PointReach, "on_gpu", lambda _, gpu=gpu: gpu)
        with closing(make_rollouts(PointReach(), 4, None)) as rollouts:
            assert isinstance(rollouts, kind)
            assert gpu or len(rollouts.shares) == 3


@pytest.mark.parametrize(
    ("device", "cuda", "expected"), [("auto", True, True), ("cpu", True, False), ("auto", False, False)]
)
def test_where_a_task_is_simulated(device, cuda, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert ManiSkill(device=device).on_gpu() is expected


@pytest.mark.maniskill
def test_a_full_process_refuses_more_scenes_and_room_comes_back(monkeypatch):
    ManiSkill(device="cpu").make(1)
    from rlft.envs.maniskill import cpu_backend

    gc.collect()  # what was built to look at the task
    monkeypatch.setattr(cpu_backend, "MAX_SCENES", cpu_backend._scenes() + 5)
    first = ManiSkill(device="cpu").make(3)
    with pytest.raises(UserError, match="3 more scenes do not fit into this process, which has"):
        ManiSkill(device="cpu").make(3)
    del first
    assert ManiSkill(device="cpu").make(3).num_envs == 3
