import lightning
import pytest

from rlft.callbacks import FreezeSchedule
from rlft.callbacks.freeze_schedule import Freeze
from rlft.errors import UserError
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.schedules import Rates, last_checkpoint, with_callbacks
from tests.support.training import UPDATES, MemoryLogger, data, fit, module, run

PARTS = ("actor.encoder", "actor.action_head", "critic.value")  # with a layer 0


class Recorder(lightning.Callback):
    """The weights before the first and after every iteration, and how many steps each tensor's Adam has taken."""

    def __init__(self):
        self.weights, self.adam_steps = [], []

    def on_train_start(self, trainer, pl_module):
        self.weights.append(weights_of(pl_module))

    def on_train_epoch_end(self, trainer, pl_module):
        self.weights.append(weights_of(pl_module))
        state = trainer.optimizers[0].state
        self.adam_steps.append(
            {name: int(state[p]["step"]) if p in state else 0 for name, p in pl_module.named_parameters()}
        )


def train(schedule, iterations, unit="iterations"):
    recorder, model = Recorder(), module()
    fit(model, data(), iterations, [FreezeSchedule(schedule, unit), recorder])
    return recorder


def rates_of(schedule, iterations, group, **options):
    """Lists of the learning rates of a group in the gradient steps of every iteration, as shares of the usual one."""
    rates = Rates()
    fit(module(learning_rate=1e-3, **options), data(), iterations, [FreezeSchedule(schedule), rates])
    used = [rate / 1e-3 for rate in rates.used[group]]
    assert rates.used["critic"] == [1e-3] * len(used)
    return [used[i : i + UPDATES] for i in range(0, len(used), UPDATES)]


def changed(recorder, iteration):
    """The parameters that an iteration changed."""
    before, after = recorder.weights[iteration : iteration + 2]
    return {name for name in before if not before[name].equal(after[name])}


def test_frozen_tensors_stay_bit_identical_while_the_others_learn():
    schedule = [Freeze("actor.encoder.0", end=1), Freeze("actor.log_std", end=2), Freeze("critic", start=1, end=2)]
    recorder = train(schedule, 3)
    names = set(recorder.weights[0])
    first_layer = {"actor.encoder.0.weight", "actor.encoder.0.bias"}
    critic = {name for name in names if name.startswith("critic.")}
    assert changed(recorder, 0) == names - first_layer - {"actor.log_std"}
    assert changed(recorder, 1) == names - critic - {"actor.log_std"}
    assert changed(recorder, 2) == names


def test_a_freed_tensor_starts_without_old_adam_moments():
    recorder = train([Freeze("critic", start=1, end=2)], 3)
    steps = [(taken["critic.value.0.weight"], taken["actor.encoder.0.weight"]) for taken in recorder.adam_steps]
    assert steps == [(UPDATES, UPDATES), (0, 2 * UPDATES), (UPDATES, 3 * UPDATES)]


def test_a_glob_freezes_what_it_matches():
    recorder = train([Freeze("*.0")], 1)
    first = {f"{part}.0.{kind}" for part in PARTS for kind in ("weight", "bias")}
    assert set(recorder.weights[0]) - changed(recorder, 0) == first


def test_a_schedule_in_env_steps_applies_to_iterations_that_begin_there():
    """They begin at 0, 80, 160 and 240."""
    recorder = train([Freeze("actor", start=1, end=160), Freeze("critic", start=161)], 4, unit="env_steps")
    networks = [{name.split(".")[0] for name in changed(recorder, i)} for i in range(4)]
    assert networks == [{"actor", "critic"}, {"critic"}, {"actor", "critic"}, {"actor"}]


@pytest.mark.parametrize("frozen", [("actor",), ("critic",), ("actor", "critic")], ids="+".join)
def test_whole_networks_can_be_frozen_to_the_end(frozen):
    recorder = train([Freeze(name) for name in frozen], 2)
    for network in ("actor", "critic"):
        assert same(recorder.weights[0], recorder.weights[-1], network) == (network in frozen)


def test_a_warm_up_counts_gradient_steps_since_the_tensors_are_free():
    rates = rates_of([Freeze("actor.encoder", end=1, warmup=8)], 3, "actor.encoder")
    assert rates == [
        [0] * 6,
        pytest.approx([0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8]),
        pytest.approx([6 / 8, 7 / 8, 1, 1, 1, 1]),
    ]


def test_a_tensor_frozen_twice_warms_up_as_the_later_line_says():
    lines = [Freeze("actor.encoder", end=1, warmup=60), Freeze("actor.encoder", start=2, end=3, warmup=2)]
    rates = rates_of(lines, 4, "actor.encoder")
    assert rates[1] == pytest.approx([i / 60 for i in range(6)])
    assert rates[2:] == [[0] * 6, pytest.approx([0, 0.5, 1, 1, 1, 1])]


def test_steps_that_others_take_are_no_warm_up():
    rates = rates_of([Freeze("actor", end=1, warmup=6)], 4, "actor", warmup_iterations=2)
    assert rates == [[0] * 6, [0] * 6, pytest.approx([i / 6 for i in range(6)]), pytest.approx([1] * 6)]


def test_what_is_frozen_is_logged():
    logger = MemoryLogger()
    schedule = FreezeSchedule([Freeze("actor", end=1), Freeze("actor", start=2), Freeze("critic.value.0", start=1)])
    fit(module(), data(), 3, [schedule], logger)
    assert logger.series("charts/frozen/actor") == [(80, 1), (160, 0), (240, 1)]
    assert logger.series("charts/frozen/critic.value.0") == [(80, 0), (160, 1), (240, 1)]
    assert [rate > 0 for _, rate in logger.series("charts/learning_rate/actor")] == [False, True, False]


def test_a_frozen_run_resumed_unfrozen_warms_up_what_was_frozen_alone(tmp_path):
    frozen, freed = ({"module": "actor.encoder", **end} for end in ({}, {"end": 1, "warmup": 4}))
    first = run(tmp_path, with_callbacks(("FreezeSchedule", {"schedule": [frozen]})), "--trainer.max_epochs=1")
    weights, adam = last_checkpoint(first)
    assert {name for name in weights if name not in adam} == {n for n in weights if n.startswith("actor.encoder")}
    options = (
        with_callbacks(("FreezeSchedule", {"schedule": [freed]})),
        "--trainer.max_epochs=2",
        f"--ckpt_path={first / 'checkpoints/last.ckpt'}",
    )
    after, adam = last_checkpoint(run(tmp_path, *options))
    assert {int(adam[name]["step"]) for name in weights if name.startswith("actor.encoder")} == {8}
    assert {int(adam[name]["step"]) for name in weights if not name.startswith("actor.encoder")} == {16}
    assert not same(weights, after, "actor.encoder")


def test_a_second_freeze_schedule_is_refused():
    with pytest.raises(UserError, match="twice") as refused:
        fit(module(), data(), 1, [FreezeSchedule([Freeze("actor")]), FreezeSchedule([Freeze("critic")])])
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    "line", [{"start": -1}, {"start": 2, "end": 2}, {"end": 0}, {"end": 3, "warmup": -1}, {"warmup": 10}]
)
def test_impossible_lines_are_refused(line):
    with pytest.raises(UserError, match="FreezeSchedule of actor") as refused:
        Freeze("actor", **line)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize("name", ["nonsense", "actor.mea", "critic.value.99", ""])
def test_an_unknown_submodule_is_refused(name):
    with pytest.raises(UserError, match="no submodule") as refused:
        train([Freeze(name)], 1)
    assert is_sentence(str(refused.value))
