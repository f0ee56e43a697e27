"""What all schedules have in common: points, resuming, and several of them at once."""

import pytest

from rlft.callbacks import ExplorationSchedule, FreezeSchedule, LearningRateSchedule, PlateauBreaker
from rlft.callbacks.freeze_schedule import Freeze
from rlft.data import OfflineDataModule
from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.modules.piecewise import Piecewise
from rlft.networks import GaussianActor
from rlft.update import PPO
from tests.support.hand_made import is_sentence, same
from tests.support.schedules import Rates, Scripted, last_checkpoint, whole_and_resumed, with_callbacks
from tests.support.training import UPDATES, MemoryLogger, data, fit, module, scalars


@pytest.mark.parametrize(
    ("interpolation", "numbers"), [("constant", [4, 4, 4, 4, 1, 1]), ("linear", [4, 4, 3, 2, 1, 1])]
)
def test_a_number_between_points_and_beyond(interpolation, numbers):
    schedule = Piecewise([(10, 4.0), (40, 1.0)], interpolation, "Test.points")
    assert [schedule.at(step) for step in (0, 10, 20, 30, 40, 1000)] == numbers


@pytest.mark.parametrize("callback", [LearningRateSchedule, ExplorationSchedule])
@pytest.mark.parametrize(
    "points", [[], [(3, 0.5), (3, 0.1)], [(3, 0.5), (2, 0.1)], [(-1, 0.5)], [(0, float("nan"))], [(0, float("inf"))]]
)
def test_impossible_points_are_refused(callback, points):
    with pytest.raises(UserError, match=f"{callback.__name__}.points") as refused:
        callback(points)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    "callback",
    [
        LearningRateSchedule([(0, 0.5)], unit="env_steps"),
        ExplorationSchedule([(0, 0.5)], unit="env_steps"),
        FreezeSchedule([Freeze("actor")], unit="env_steps"),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_env_steps_that_stand_still_are_refused(callback):
    fixed = OfflineDataModule(PointReach(), 8, 10, 2, 3, num_workers=0)
    with pytest.raises(UserError, match=f"{type(callback).__name__}.unit") as refused:
        fit(module(), fixed, 1, [callback])
    assert is_sentence(str(refused.value))


def test_factors_of_several_callbacks_and_of_the_module_multiply():
    callbacks = [
        LearningRateSchedule([(0, 0.5), (1, 0.1)]),
        LearningRateSchedule([(0, 3.0)], group="actor.encoder"),
        LearningRateSchedule([(0, 1.0), (2, 5.0)], group="*.encoder.0"),
        FreezeSchedule([Freeze("actor.encoder.0", end=2, warmup=2)]),
        PlateauBreaker(patience=1, duration=1, cooldown=3),
        Scripted([0.0, 0.0, 0.0, 0.0]),
        rates := Rates(),
    ]
    rates_of_networks = {"learning_rate": 1e-3, "learning_rate_factors": {"actor": 0.1}, "anneal_lr": True}
    fit(module(actor=lambda o, a: GaussianActor(o, a, 16, 3), **rates_of_networks), data(), 3, callbacks)
    each = {name: [used[i * UPDATES : (i + 1) * UPDATES] for i in range(3)] for name, used in rates.used.items()}
    whole = [0.5e-3, 0.1e-3 * 2 / 3 * 2, 0.1e-3 / 3]  # points, annealing, and the bump in the second iteration
    first = "actor: *.encoder.0 + actor + actor.encoder + actor.encoder.0"
    assert each == {
        "critic": [pytest.approx([rate] * UPDATES) for rate in whole],
        "actor": [pytest.approx([0.1 * rate] * UPDATES) for rate in whole],
        "actor + actor.encoder": [pytest.approx([0.3 * rate] * UPDATES) for rate in whole],
        first: [[0.0] * UPDATES] * 2 + [pytest.approx([1.5 * whole[2] * f for f in (0, 0.5, 1, 1, 1, 1)])],
    }


def test_a_warm_up_counts_the_steps_of_each_network():
    """The critic is alone in the first iteration, so the actor's Adam is new in the second."""
    fit(module(learning_rate=1e-3, learning_rate_warmup=8, warmup_iterations=1), data(), 3, [rates := Rates()])
    rising = [1e-3 * min(1.0, i / 8) for i in range(3 * UPDATES)]
    assert rates.used == {
        "actor": pytest.approx([0.0] * UPDATES + rising[: 2 * UPDATES]),
        "critic": pytest.approx(rising),
    }


def test_a_kl_stop_leaves_room_for_more_than_the_first_step_of_adam():
    """A step of 0.03 in every weight is far more than the stop allows; the second minibatch shows it."""

    def actor_updates(**options):
        logger = MemoryLogger()
        model = module(learning_rate=0.03, update=PPO(target_kl=0.05), **options)
        fit(model, data(update_epochs=10), 1, logger=logger)
        ((_, updates),) = logger.series("charts/actor_updates")
        return updates

    assert actor_updates() == 1
    assert actor_updates(learning_rate_warmup=100) > 3


def test_a_warm_up_that_is_resumed_goes_on(tmp_path):
    whole, resumed = whole_and_resumed(tmp_path, "--model.learning_rate_warmup=20", stop=2, iterations=4)
    assert same(last_checkpoint(resumed)[0], last_checkpoint(whole)[0])
    rates = [rate for _, rate in scalars(whole)["charts/learning_rate/actor"]]
    assert rates[0] < rates[1] < rates[2] == rates[3]  # 8 gradient steps per iteration
    assert [rate for _, rate in scalars(resumed)["charts/learning_rate/actor"]] == rates[-2:]


FROZEN = [{"module": "actor.encoder", "end": 1, "warmup": 20}, {"module": "critic", "start": 1, "end": 3}]
FALLING = {"points": [[0, 1.0], [4, 0.2]], "interpolation": "linear"}
NEVER = {"min_delta": 1, "factor": 3.0}  # is the success rate better by that much
RESUMED = {  # callbacks and charts; a run is stopped after 2 iterations of 320 env steps and 8 gradient steps
    "within phases": (
        [
            ("FreezeSchedule", {"schedule": FROZEN}),
            ("LearningRateSchedule", FALLING),
            ("LearningRateSchedule", {**FALLING, "group": "*.log_std"}),
            ("PlateauBreaker", {**NEVER, "patience": 1, "duration": 2, "cooldown": 4}),
        ],
        ["frozen/critic", "learning_rate/actor: *.log_std", "learning_rate/actor.encoder", "plateau_factor"],
    ),
    "between phases": (
        [
            ("FreezeSchedule", {"schedule": [{"module": "critic", "end": 640}], "unit": "env_steps"}),
            ("ExplorationSchedule", {"points": [[0, -0.5], [640, -1.5]], "unit": "env_steps"}),
            ("PlateauBreaker", {**NEVER, "patience": 2, "duration": 1, "cooldown": 2}),
        ],
        ["frozen/critic", "log_std", "plateau_factor"],
    ),
}


@pytest.mark.parametrize(("callbacks", "charts"), RESUMED.values(), ids=RESUMED)
def test_a_run_resumed_in_the_middle_equals_one_that_never_stopped(callbacks, charts, tmp_path):
    whole, resumed = whole_and_resumed(tmp_path, with_callbacks(*callbacks), stop=2, iterations=4)
    (weights, adam), (expected, expected_adam) = last_checkpoint(resumed), last_checkpoint(whole)
    assert same(weights, expected)
    assert adam.keys() == expected_adam.keys()
    assert all(same(adam[name], expected_adam[name]) for name in adam)
    ours, theirs = scalars(resumed), scalars(whole)
    for name in charts:
        assert len({value for _, value in theirs[f"charts/{name}"]}) > 1
        assert ours[f"charts/{name}"] == theirs[f"charts/{name}"][-2:]
