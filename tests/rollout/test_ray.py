"""Workers on a Ray cluster of several machines, which are all this one: whatever dies, results stay the same."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from rlft.cli import main
from rlft.envs import ManiSkill, PointReach
from rlft.errors import UserError
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts, ProcessRollouts, Ray, heartbeat, make_rollouts
from tests.rollout.test_failures import requests
from tests.rollout.test_places import assert_same
from tests.rollout.test_play import NAN, jobs_at, random_jobs
from tests.support.descendants import command, descendants, runs, wait_until
from tests.support.faulty import FaultyActor, SlowActor, Unbuildable
from tests.support.rollouts import assert_equal, policy
from tests.support.training import run, same_policies, smoke

ray = pytest.importorskip("ray", reason="needs the extra `ray`")
pytestmark = pytest.mark.ray

ENV, ENVS, SEED = PointReach(horizon=12, radius=0.3), 7, 3
SMALL = {"object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster():
    """A head and a second machine, with room for three workers on each."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, **SMALL})
    found.add_node(num_cpus=3, **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", found.address)
        yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def local():
    return LocalRollouts(ENV, ENVS)


@pytest.fixture(scope="module")
def start(local):
    return local.initial_states(SEED)


@pytest.fixture(scope="module")
def workers(cluster):
    """Two workers which outlive every test."""
    rollouts = make_rollouts(ENV, ENVS, 2, Ray())
    yield rollouts
    rollouts.close()


# ---- any number of workers ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_results_are_bit_identical_with_any_number_of_workers(local, start, num_workers):
    rollouts = make_rollouts(ENV, ENVS, num_workers, Ray())
    try:
        assert_equal(rollouts.initial_states(SEED), start)
        for ask in requests(start).values():
            assert_same(ask(rollouts, policy()), ask(local, policy()))
        assert rollouts.workers_replaced == 0
    finally:
        rollouts.close()


@pytest.mark.usefixtures("cluster")
def test_by_default_there_are_as_many_as_the_cluster_has_room_for():
    assert [Ray(num_cpus=cores).count(ENV) for cores in (1, 2, 100)] == [6, 3, 1]


def test_progress_counts_up_to_all_jobs(workers, start):
    begun = []
    jobs = random_jobs(200, len(start))
    workers.play(policy(), start, jobs, gamma=0.9, seed=SEED, iteration=0, progress=begun.append)
    assert begun == sorted(begun)
    assert begun[-1] == 200


# ---- one failure changes nothing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_name", "how", "said"),
    [
        ("collect", signal.SIGKILL, "was lost: its worker process has died"),
        ("play", signal.SIGKILL, "was lost: its worker process has died"),
        ("evaluate", ValueError("boom in the policy"), "failed with ValueError: boom in the policy"),
    ],
)
def test_a_failure_is_repaired_with_identical_results(local, start, workers, tmp_path, capfd, request_name, how, said):
    ask, before = requests(start)[request_name], workers.workers_replaced
    ours = ask(workers, FaultyActor(policy(), how, tmp_path, after=10))
    assert workers.workers_replaced == before + 1
    assert_same(ours, ask(local, policy()))
    [line] = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Rollout worker")]
    assert re.fullmatch(rf"Rollout worker [12] of 2 {re.escape(said)}; a new process does its work again\.", line)


def test_a_worker_that_stops_in_the_middle_is_replaced(local, start, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_PATIENCE", 4.0)
    ask, before = requests(start)["play"], workers.workers_replaced
    ours = ask(workers, FaultyActor(policy(), signal.SIGSTOP, tmp_path, after=10))
    assert_equal(*ours, *ask(local, policy()))
    assert workers.workers_replaced == before + 1


def test_slow_workers_are_left_alone(workers, monkeypatch):
    monkeypatch.setattr(heartbeat, "STEP_PATIENCE", 4.0)
    before = workers.workers_replaced
    workers.evaluate(SlowActor(0.5), ENVS, seed=1, deterministic=True)  # 12 steps
    assert workers.workers_replaced == before


def test_a_queue_that_dies_is_filled_again(local, start, workers):
    jobs, done = random_jobs(200, len(start)), []

    def kill(begun):
        if begun > 20 and not done:
            done.append(ray.get(workers._pool.queue.actor.__ray_call__.remote(lambda _: os.getpid())))
            os.kill(done[0], signal.SIGKILL)

    def play(rollouts, progress):
        actor = SlowActor(0.05)
        return rollouts.play(actor, start, jobs, gamma=0.9, seed=SEED, iteration=0, progress=progress)

    ours, steps = play(workers, kill)
    theirs, expected = play(local, lambda begun: None)
    assert done
    assert_equal(ours, theirs)
    assert steps == expected


def test_a_machine_that_is_lost_and_one_that_comes(cluster, local, start):
    """Where the second worker then has no place, the first one does its work; it has one when a machine comes."""
    machine = cluster.add_node(num_cpus=2, resources={"arm": 2}, **SMALL)
    other = cluster.add_node(num_cpus=2, resources={"arm": 1}, **SMALL)
    rollouts = make_rollouts(ENV, ENVS, 3, Ray(resources={"arm": 1}))
    lost = []

    def lose(begun):
        if begun > 20 and not lost:
            lost.append(machine)
            cluster.remove_node(machine)

    def play(where, progress):
        jobs = random_jobs(200, len(start))
        return where.play(SlowActor(0.05), start, jobs, gamma=0.9, seed=SEED, iteration=0, progress=progress)

    try:
        (ours, steps), (theirs, expected) = play(rollouts, lose), play(local, lambda begun: None)
        assert lost
        assert_equal(ours, theirs)
        assert steps == expected
        assert rollouts.workers_replaced == 2
        ask, workers = requests(start)["collect"], rollouts._pool._workers
        assert [worker.ready for worker in workers].count(True) == 1
        assert_same(ask(rollouts, policy()), ask(local, policy()))
        machine = cluster.add_node(num_cpus=2, resources={"arm": 2}, **SMALL)
        wait_until(lambda: all(worker.ready for worker in workers))
        assert_same(ask(rollouts, policy()), ask(local, policy()))
        assert rollouts.workers_replaced == 2
    finally:
        rollouts.close()
        for node in (machine, other):
            cluster.remove_node(node)


# ---- what cannot be repaired -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cluster")
def test_what_no_machine_has_is_said():
    sentence = (
        r"place on the Ray cluster after 2 s: each takes 1 CPU, of which the cluster has 6; 1 leg, of .* has 0\.$"
    )
    with pytest.raises(UserError, match=sentence):
        make_rollouts(ENV, ENVS, 2, Ray(resources={"leg": 1}, patience=2))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:1"])
def test_where_no_cluster_answers(tmp_path, address):
    options = ["--data.workers=Ray", "--data.num_workers=1"]
    command = [sys.executable, "-m", "rlft", *smoke(tmp_path, *options)]
    done = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"rlft: RAY_ADDRESS is {address}, where no Ray cluster answers; it must be host:port")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("cluster")
def test_what_a_factory_refuses_reaches_the_user():
    with pytest.raises(UserError, match=r"^This machine has no such robot\.$"):
        ProcessRollouts(Unbuildable(), 2, 1, Ray())


@pytest.mark.usefixtures("cluster")
def test_a_wrong_task_is_one_sentence(capfd):
    options = ["--task=Nowhere-v1", "--accept_mismatch=[task]", "--episodes=4", "--num_workers=1", "--workers=Ray"]
    assert main(["evaluate", "pickcube/weak", *options]) == 1
    said = capfd.readouterr().err
    assert re.fullmatch(r"rlft: .*Nowhere-v1.*\n", said), said


# ---- whole runs --------------------------------------------------------------------------------------------------


REROLLOUTS = ("--model.advantage=MonteCarloRerollout", "--model.advantage.num_samples=2")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("method", [(), REROLLOUTS], ids=["gae", "rerollouts"])
def test_a_run_is_the_one_with_local_workers_also_one_that_goes_on(tmp_path, method):
    on_ray, three = ["--data.workers=Ray", "--data.num_workers=2"], "--trainer.max_epochs=3"
    whole = run(tmp_path / "local", three, "--data.num_workers=2", *method)
    assert same_policies(run(tmp_path / "ray", three, *on_ray, *method), whole)
    run(tmp_path / "parts", "--trainer.max_epochs=1", *method)
    parts = run(tmp_path / "parts", three, "--ckpt_path=last", *on_ray, *method)
    assert parts.parent.name == whole.parent.name  # the same identity
    assert same_policies(parts, whole)


def actors(pid):
    """Workers and queues among the descendants of a process, but for those that Ray keeps in reserve."""
    return [other for other in descendants(pid) if command(other)[0].startswith(("ray::_Actor", "ray::_Jobs"))]


@contextmanager
def endless(log_dir, address):
    """A run with two workers in a process group of its own, once it has a checkpoint."""
    options = ["--data.workers=Ray", "--data.num_workers=2", "--trainer.max_epochs=100000", "--run_name=run"]
    command = [sys.executable, "-m", "rlft", *smoke(log_dir, *options)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "RAY_ADDRESS": address}
    main = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        last = log_dir / "run/version_0/checkpoints/last.ckpt"
        wait_until(lambda: last.exists() or main.poll() is not None)
        assert main.poll() is None, main.stderr.read()
        yield main
    finally:
        main.kill()
        main.wait()


ENDINGS = [(signal.SIGINT, 130, "rlft: interrupted."), (signal.SIGTERM, 1, "rlft: Ended by SIGTERM; --ckpt_path last")]


@pytest.mark.parametrize(("number", "status", "sentence"), ENDINGS)
def test_nothing_stays_of_a_cluster_that_a_run_has_started(tmp_path, number, status, sentence):
    """The signal reaches the whole process group, as from a terminal or a batch system."""
    with endless(tmp_path, "local") as main:
        others = descendants(main.pid)
        assert len(actors(main.pid)) == 3
        os.killpg(main.pid, number)
        _, said = main.communicate()
    assert (main.returncode, sentence in said, "Traceback" in said) == (status, True, False), said
    wait_until(lambda: not any(runs(pid) for pid in others))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_cluster_that_was_there_stays_without_the_actors_of_the_run(cluster, tmp_path, number):
    before = set(actors(os.getpid()))
    with endless(tmp_path, cluster.address) as main:
        ours = set(actors(os.getpid())) - before
        assert len(ours) == 3
        os.kill(main.pid, number)
        main.communicate()
    wait_until(lambda: not any(runs(pid) for pid in ours))
    assert len([node for node in cluster.list_all_nodes() if node.any_processes_alive()]) == len(
        cluster.list_all_nodes()
    )
    assert run(tmp_path / "other", "--trainer.max_epochs=1", "--data.workers=Ray", "--data.num_workers=2")


@pytest.mark.maniskill
@pytest.mark.usefixtures("cluster")
def test_pick_cube_is_bit_identical():
    expert, env = load_policy("pickcube/expert").actor, ManiSkill(device="cpu")
    here, there = LocalRollouts(env, 4), make_rollouts(env, 4, 2, Ray())

    def everything(rollouts):
        rollout, ends, visited = rollouts.collect(expert, here.initial_states(1), 25, 1, 0, keep_visited=True)
        states, rows = visited.states[visited.before.flatten()], 2 * torch.arange(40)
        jobs = jobs_at(rows, 8, rows, first=[NAN] * 8)
        branches, _ = rollouts.play(expert, states, jobs, gamma=0.8, seed=1, iteration=0, progress=lambda begun: None)
        return [rollout, ends, branches, rollouts.evaluate(expert, 6, seed=2, deterministic=True)]

    try:
        for ours, theirs in zip(everything(there), everything(here), strict=True):
            assert_equal(ours, theirs)
    finally:
        there.close()
