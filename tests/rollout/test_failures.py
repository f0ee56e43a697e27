"""Workers that die, fail or hang: replaced with identical results, or the run ends with the reason."""

import itertools
import multiprocessing
import os
import re
import signal
import time
from types import SimpleNamespace

import pytest
import torch

from rlft.envs import ManiSkill, PointReach
from rlft.errors import UserError
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts, ProcessRollouts, WorkerDied, heartbeat, worker_pool
from rlft.rollout.job_queue import JobQueue
from tests.rollout.test_play import NAN, jobs_at, random_jobs
from tests.rollout.test_processes import new_children
from tests.support.descendants import runs, wait_until
from tests.support.faulty import DeadlyPlace, FaultyActor, SlowActor, SlowToBuild, take_all
from tests.support.rollouts import assert_equal, policy, processes_of
from tests.support.warm import context

ENV, ENVS, SEED = PointReach(horizon=12, radius=0.3), 7, 3


@pytest.fixture(scope="module")
def undisturbed():
    """Two workers to which nothing happens."""
    rollouts = ProcessRollouts(ENV, ENVS, 2)
    yield rollouts
    assert rollouts.workers_replaced == 0
    rollouts.close()


@pytest.fixture(scope="module")
def start(undisturbed):
    return undisturbed.initial_states(SEED)


@pytest.fixture(scope="module")
def workers():
    """Two workers which outlive every test that does not end them for good."""
    rollouts = ProcessRollouts(ENV, ENVS, 2)
    yield rollouts
    rollouts.close()


@pytest.fixture
def doomed():
    """A worker of a test that ends it for good."""
    before = set(multiprocessing.active_children())
    rollouts = ProcessRollouts(ENV, ENVS, 1)
    yield rollouts
    assert not new_children(before)
    with pytest.raises(WorkerDied, match="closed"):
        rollouts.initial_states(1)
    rollouts.close()  # idempotent


def requests(start):
    """What workers are asked for, by name: a function of rollouts and policy that returns dataclasses of tensors."""
    jobs = random_jobs(200, len(start))

    def play(rollouts, actor):
        branches, simulated = rollouts.play(
            actor, start, jobs, gamma=0.9, seed=SEED, iteration=0, progress=lambda begun: None
        )
        assert simulated == branches.steps.sum()  # what was lost is not counted, and nothing twice
        return [branches]

    return {
        "collect": lambda rollouts, actor: rollouts.collect(actor, start, 30, SEED, 0, keep_visited=True),
        "play": play,
        "evaluate": lambda rollouts, actor: [rollouts.evaluate(actor, 20, seed=SEED, deterministic=False)],
    }


# ---- one failure changes nothing ---------------------------------------------------------------------------------


KILLED = "was ended by SIGKILL (as the system does when memory runs out)"


@pytest.mark.parametrize(
    ("request_name", "how", "said"),
    [
        ("collect", signal.SIGKILL, KILLED),
        ("play", signal.SIGKILL, KILLED),
        ("evaluate", signal.SIGKILL, KILLED),
        ("collect", signal.SIGSEGV, "was ended by SIGSEGV"),
        ("play", ValueError("boom in the policy"), "failed with ValueError: boom in the policy"),
        ("collect", "memory", "failed with MemoryError: no memory for another scene"),
        ("evaluate", "exit", "ended with exit status 3"),
    ],
)
def test_a_failure_is_repaired_with_identical_results(
    undisturbed, start, workers, tmp_path, capfd, request_name, how, said
):
    ask = requests(start)[request_name]
    before = workers.workers_replaced
    ours = ask(workers, FaultyActor(policy(), how, tmp_path, after=10))
    assert workers.workers_replaced == before + 1
    for disturbed, expected in zip(ours, ask(undisturbed, policy()), strict=True):
        assert_equal(disturbed, expected)
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Rollout worker")]
    assert re.fullmatch(rf"Rollout worker [12] of 2 {re.escape(said)}; a new process does its work again\.", line)


def test_a_worker_that_died_while_it_had_nothing_to_do_is_replaced(undisturbed, start, workers):
    before = workers.workers_replaced
    for process in processes_of(workers):
        os.kill(process, signal.SIGKILL)
        wait_until(lambda process=process: not runs(process))
    ask = requests(start)["collect"]
    for disturbed, expected in zip(ask(workers, policy()), ask(undisturbed, policy()), strict=True):
        assert_equal(disturbed, expected)
    assert workers.workers_replaced == before + 2


def test_jobs_that_a_dead_worker_had_finished_are_played_again(undisturbed, start, workers, tmp_path):
    """A worker dies when the queue is empty: nothing is left for its successor but what was lost."""
    jobs = random_jobs(200, len(start))
    begun, actor = [], FaultyActor(policy(), signal.SIGKILL, tmp_path, after=60)
    branches, simulated = workers.play(actor, start, jobs, gamma=0.9, seed=SEED, iteration=0, progress=begun.append)
    expected, steps = undisturbed.play(
        policy(), start, jobs, gamma=0.9, seed=SEED, iteration=0, progress=lambda begun: None
    )
    assert_equal(branches, expected)
    assert simulated == steps
    assert begun[-1] == 200


def test_every_job_is_taken_once_whoever_dies():
    processes = context()
    queue, barrier, takers = JobQueue(), processes.Barrier(3, timeout=120), []
    queue.fill(range(0, 60_000, 2))
    for number in range(3):
        ours, theirs = processes.Pipe()
        process = processes.Process(target=take_all, args=(queue, 1 + 2 * number, barrier, theirs, number == 2))
        process.start()
        takers.append((process, ours))
    taken = [connection.recv() for _, connection in takers]
    for process, _ in takers:
        process.join()
    assert [process.exitcode for process, _ in takers] == [0, 0, -signal.SIGKILL]
    assert min(len(jobs) for jobs in taken) > 100  # all of them had a hand in it
    assert sorted(itertools.chain(*taken)) == list(range(0, 60_000, 2))
    assert queue.taken() == 30_000
    queue.fill([5])
    assert (queue.taken(), queue.take(3), queue.take(3)) == (0, [5], [])


# ---- workers that hang -------------------------------------------------------------------------------------------


def test_a_worker_that_stops_in_the_middle_is_replaced(undisturbed, start, workers, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_PATIENCE", 4.0)
    ask, before = requests(start)["play"], workers.workers_replaced
    ours = ask(workers, FaultyActor(policy(), signal.SIGSTOP, tmp_path, after=10))
    assert_equal(*ours, *ask(undisturbed, policy()))
    assert workers.workers_replaced == before + 1
    assert "made no progress for 4 s; a new process does its work again." in capfd.readouterr().err


def test_a_worker_that_does_not_even_listen_is_replaced(undisturbed, start, workers, monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_PATIENCE", 4.0)
    before = workers.workers_replaced
    os.kill(processes_of(workers)[0], signal.SIGSTOP)
    actor = policy()
    actor.register_buffer("ballast", torch.zeros(2_000_000))  # more than a pipe holds
    ask = requests(start)["evaluate"]
    assert_equal(*ask(workers, actor), *ask(undisturbed, policy()))
    assert workers.workers_replaced == before + 1


def test_slow_workers_are_left_alone(workers, monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_PATIENCE", 4.0)
    before, started = workers.workers_replaced, time.monotonic()
    workers.evaluate(SlowActor(0.5), ENVS, seed=1, deterministic=True)  # 12 steps
    assert time.monotonic() - started > 1.2 * heartbeat.STEP_PATIENCE
    assert workers.workers_replaced == before


def test_building_may_take_longer_than_a_step_but_not_forever(monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_PATIENCE", 1.0)
    rollouts = ProcessRollouts(SlowToBuild(2.5), 2, 1)
    rollouts.close()
    monkeypatch.setattr(heartbeat, "BUILD_PATIENCE", 1.0)
    with pytest.raises(WorkerDied, match=r"^Rollout worker 1 of 1 made no progress for 1 s\.$"):
        ProcessRollouts(SlowToBuild(60), 2, 1)


def test_time_in_which_everything_was_suspended_is_no_silence(workers, monkeypatch):
    """As after Ctrl-Z and fg: the clock has jumped by an hour, and the main process has looked once."""
    real, jumps = time.monotonic, iter([0.0, *[3600.0] * 1000])
    monkeypatch.setattr(worker_pool, "time", SimpleNamespace(monotonic=lambda: real() + next(jumps)))
    before = workers.workers_replaced
    workers.evaluate(SlowActor(0.2), ENVS, seed=1, deterministic=True)
    assert next(jumps) == 3600.0
    assert workers.workers_replaced == before


# ---- what cannot be repaired -------------------------------------------------------------------------------------


def test_the_third_failure_in_one_request_ends_the_run_with_the_reason(start, doomed, tmp_path):
    actor = FaultyActor(policy(), signal.SIGKILL, tmp_path, times=100)
    with pytest.raises(WorkerDied, match=r"^Rollout worker 1 of 1 was ended by SIGKILL .*, 3 times in one request\.$"):
        doomed.collect(actor, start, 30, SEED, 0)
    assert doomed.workers_replaced == 2


def test_the_reason_of_the_third_failure_comes_with_its_traceback(start, doomed, tmp_path):
    actor = FaultyActor(policy(), ValueError("boom in the policy"), tmp_path, times=100)
    reason = r"1 of 1 failed with ValueError: boom in the policy, 3 times in one request\.\nTraceback (?s:.*)in forward"
    with pytest.raises(WorkerDied, match=reason):
        doomed.collect(actor, start, 30, SEED, 0)


def test_a_job_that_kills_whoever_plays_it_ends_the_run(undisturbed, doomed):
    states = undisturbed.initial_states(SEED)
    jobs = jobs_at([0, 1, 2, 3, 4, 5, 6], 12, 0)
    with pytest.raises(WorkerDied, match=r"^Re-rollouts were lost 3 times in one request; .* was ended by SIGKILL"):
        doomed.play(
            DeadlyPlace(states.obs.state[3]), states, jobs, gamma=0.9, seed=1, iteration=0, progress=lambda begun: None
        )
    assert doomed.workers_replaced == 3


def test_a_mistake_of_the_user_is_not_tried_again(start, doomed, tmp_path):
    actor = FaultyActor(policy(), UserError("This policy needs a camera."), tmp_path, times=100)
    with pytest.raises(UserError, match=r"^This policy needs a camera\.$"):
        doomed.collect(actor, start, 30, SEED, 0)
    assert doomed.workers_replaced == 0


# ---- the real simulator ------------------------------------------------------------------------------------------


@pytest.mark.maniskill
def test_pick_cube_is_bit_identical_whichever_worker_dies(tmp_path):
    expert, env = load_policy("pickcube/expert").actor, ManiSkill(device="cpu")
    local, workers = LocalRollouts(env, 4), ProcessRollouts(env, 4, 2)
    start = local.initial_states(1)

    def everything(rollouts, how):
        for name in ("collect", "play", "evaluate"):
            (tmp_path / name).mkdir(exist_ok=True)
        actors = {name: FaultyActor(expert, how, tmp_path / name, after=15) for name in ("collect", "play", "evaluate")}
        rollout, ends, visited = rollouts.collect(actors["collect"], start, 25, 1, 0, keep_visited=True)
        states, rows = visited.states[visited.before.flatten()], 2 * torch.arange(40)
        jobs = jobs_at(rows, 8, rows, first=[NAN] * 8)
        branches, simulated = rollouts.play(
            actors["play"], states, jobs, gamma=0.8, seed=1, iteration=0, progress=lambda begun: None
        )
        results = rollouts.evaluate(actors["evaluate"], 6, seed=2, deterministic=True)
        return [rollout, ends, branches, results], simulated

    try:
        disturbed, simulated = everything(workers, signal.SIGKILL)
        assert workers.workers_replaced == 3
    finally:
        workers.close()
    undisturbed, expected = everything(local, None)
    assert simulated == expected
    for ours, theirs in zip(disturbed, undisturbed, strict=True):
        assert_equal(ours, theirs)
    assert disturbed[0].obs.state[..., 18].any()  # the cube is grasped
