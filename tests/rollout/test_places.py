"""Fewer places than workers: those that have one do all the work, with the same results; without any the run ends."""

import signal
import sys

import pytest

from rlft.data import RolloutDataModule
from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.rollout import LocalRollouts, ProcessRollouts, Ray, make_rollouts, ray_workers
from tests.rollout.test_failures import requests
from tests.support.faulty import FaultyActor
from tests.support.placed import Placed
from tests.support.rollouts import assert_equal, policy

ENV, ENVS, SEED = PointReach(horizon=12, radius=0.3), 7, 3


@pytest.fixture(scope="module")
def local():
    return LocalRollouts(ENV, ENVS)


@pytest.fixture
def opened():
    """Makes rollouts that are closed at the end."""
    made = []

    def rollouts(workers, number=3):
        made.append(ProcessRollouts(ENV, ENVS, number, workers))
        return made[-1]

    yield rollouts
    for one in made:
        one.close()


def assert_same(ours, theirs):
    for one, other in list(zip(ours, theirs, strict=True))[:2]:  # states on the way are in another order
        assert_equal(one, other)


@pytest.mark.parametrize("places", [1, 2])
def test_workers_with_a_place_do_the_work_of_the_others(local, opened, capfd, places):
    workers = Placed(places)
    rollouts, start = opened(workers), local.initial_states(SEED)
    said = f"{3 - places} of 3 rollout workers have no place after 1 s; the others do their work until they have.\n"
    assert capfd.readouterr().err == said
    assert_equal(rollouts.initial_states(SEED), start)
    for ask in requests(start).values():
        assert_same(ask(rollouts, policy()), ask(local, policy()))
    assert sum(worker.asked for worker in workers.started[:places]) == 3 * (2 + len(requests(start)))
    workers.places = 3
    ask = requests(start)["collect"]
    assert_same(ask(rollouts, policy()), ask(local, policy()))
    assert workers.started[2].asked == 1


def test_what_a_dead_worker_leaves_is_done_by_one_that_has_a_place(local, opened, tmp_path):
    workers = Placed(2)
    rollouts, ask = opened(workers, 2), requests(local.initial_states(SEED))["collect"]
    assert_same(ask(rollouts, FaultyActor(policy(), signal.SIGKILL, tmp_path)), ask(local, policy()))
    assert rollouts.workers_replaced == 1
    assert [worker.asked for worker in workers.started][2] == 0  # the new one, which has none


def test_no_place_at_the_start():
    with pytest.raises(UserError, match=r"^There are 0 places\.$"):
        ProcessRollouts(ENV, ENVS, 2, Placed(0))


def test_no_place_any_more(opened):
    workers = Placed(2)
    rollouts = opened(workers, 2)
    workers.places = 0
    with pytest.raises(UserError, match=r"^There are 0 places\.$"):
        rollouts.initial_states(SEED)


def test_workers_elsewhere_and_none_at_all_contradict_each_other():
    for build in (
        lambda: make_rollouts(ENV, 2, 0, Placed(1)),
        lambda: RolloutDataModule(ENV, workers=Placed(1), num_workers=0),
    ):
        with pytest.raises(
            UserError, match=r"^num_workers is 0, which needs no workers of Placed; set it to at least 1"
        ):
            build()


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for number in (2, None):
        with pytest.raises(UserError, match=r"^workers Ray needs Ray; pip install 'rlft\[ray\]'\.$"):
            make_rollouts(ENV, 2, number, Ray())


def test_a_resource_has_an_amount():
    with pytest.raises(UserError, match=r"^Ray\.arm is 0; it must be above 0 and finite\.$"):
        Ray(resources={"arm": 0})


class Numbers:
    """A queue as an actor is one: its answers are there when they are asked for."""

    def __init__(self, count):
        self.left, self.asked = list(range(count)), []
        self.take = self

    def remote(self, count):
        self.asked.append(count)
        taken, self.left = self.left[:count], self.left[count:]
        return taken


@pytest.mark.parametrize("count", [0, 3, 8, 9, 30, 31, 100])
def test_jobs_asked_for_ahead_are_all_taken_once(count):
    queue = Numbers(count)
    ahead = ray_workers._Ahead(queue, lambda answer: answer)
    taken, sizes = [], [20, 1, 3, 5] * 30
    for size in sizes:
        part = ahead.take(size)
        taken += part
        if len(part) < size:
            break
    assert taken == list(range(count))
    queue.left = [-1]
    assert ahead.take(2) == [-1]  # nothing was asked for ahead once it was empty
