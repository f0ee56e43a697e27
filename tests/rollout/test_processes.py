import multiprocessing
import os
import signal

import pytest
import torch

from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.rollout import LocalRollouts, ProcessRollouts, make_rollouts
from tests.support.faulty import Unbuildable
from tests.support.rollouts import assert_equal, policy, processes_of
from tests.support.warm import cold_workers

ENV, ENVS = PointReach(horizon=12, radius=0.3), 7  # 7 splits unevenly over 2 and over 3 workers


@pytest.fixture(autouse=True, scope="module")
def _cold_workers():
    with cold_workers():
        yield


@pytest.fixture(scope="module")
def local():
    return LocalRollouts(ENV, ENVS)


@pytest.fixture(scope="module", params=[1, 2, 3], ids="{}_workers".format)
def workers(request):
    rollouts = ProcessRollouts(ENV, ENVS, request.param)
    yield rollouts
    rollouts.close()


def new_children(before):
    return set(multiprocessing.active_children()) - before


def two_rollouts(rollouts):
    """Two iterations in a row with everything they return."""
    states = rollouts.initial_states(3)
    first, states, _ = rollouts.collect(policy(), states, 20, 3, 0)
    second, states, _ = rollouts.collect(policy(1), states, 20, 3, 1)
    return first, second, states


def test_collecting_is_bit_identical_with_any_number_of_workers(local, workers):
    for ours, theirs in zip(two_rollouts(workers), two_rollouts(local), strict=True):
        assert_equal(ours, theirs)


@pytest.mark.parametrize("deterministic", [True, False])
def test_evaluation_is_bit_identical_with_any_number_of_workers(local, workers, deterministic):
    ours, theirs = (r.evaluate(policy(), 20, seed=5, deterministic=deterministic) for r in (workers, local))
    assert_equal(ours, theirs)


def test_fewer_episodes_than_workers(local, workers):
    ours, theirs = (r.evaluate(policy(), 1, seed=5, deterministic=True) for r in (workers, local))
    assert_equal(ours, theirs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_workers_do_not_hear_what_is_meant_for_the_run(workers, number):
    workers.initial_states(1)  # once they have started: on a busy machine that takes a while
    processes = processes_of(workers)
    for process in processes:
        os.kill(process, number)
    workers.initial_states(1)
    assert processes_of(workers) == processes
    assert workers.workers_replaced == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()  # and the main process still does


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_workers_act_on_the_cpu_wherever_the_actor_is(local, workers):
    actor = policy().to("cuda")
    states = local.initial_states(3)
    assert_equal(workers.collect(actor, states, 20, 3, 0)[0], local.collect(policy(), states, 20, 3, 0)[0])
    assert actor.device.type == "cuda"
    theirs = local.evaluate(policy(), 20, seed=5, deterministic=False)
    assert_equal(workers.evaluate(actor, 20, seed=5, deterministic=False), theirs)


def test_what_a_factory_refuses_reaches_the_user():
    before = set(multiprocessing.active_children())
    with pytest.raises(UserError, match=r"^This machine has no such robot\.$"):
        ProcessRollouts(Unbuildable(), 2, 1)
    assert not new_children(before)


def test_zero_workers_simulate_in_this_process():
    before = set(multiprocessing.active_children())
    assert isinstance(make_rollouts(ENV, 2, 0), LocalRollouts)
    assert not new_children(before)
