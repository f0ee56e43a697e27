import lightning
import pytest

from callbacks import FreezeSchedule
from callbacks.freeze_schedule import Freeze
from rlft.errors import UserError
from tests.helpers import is_sentence, same, weights_of
from tests.training import UPDATES, data, fit, module


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


def train(schedule, iterations):
    recorder, model = Recorder(), module()
    fit(model, data(), iterations, [FreezeSchedule(schedule), recorder])
    return recorder


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


@pytest.mark.parametrize("frozen", [("actor",), ("critic",), ("actor", "critic")], ids="+".join)
def test_whole_networks_can_be_frozen_to_the_end(frozen):
    recorder = train([Freeze(name) for name in frozen], 2)
    for network in ("actor", "critic"):
        assert same(recorder.weights[0], recorder.weights[-1], network) == (network in frozen)


@pytest.mark.parametrize("name", ["nonsense", "actor.mea", "critic.value.99", ""])
def test_an_unknown_submodule_is_refused(name):
    with pytest.raises(UserError, match="no submodule") as refused:
        train([Freeze(name)], 1)
    assert is_sentence(str(refused.value))
