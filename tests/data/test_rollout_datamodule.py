import lightning
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rlft.advantage import MonteCarloRerollout
from rlft.errors import UserError
from tests.support.hand_made import is_sentence
from tests.support.training import UPDATES, data, fit, module


class Batches(lightning.Callback):
    """Keeps every minibatch of every iteration."""

    def __init__(self):
        self.served = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.served.setdefault(trainer.current_epoch, []).append(batch)


def served(**options):
    batches = Batches()
    model = module()
    fit(model, data(**options), 2, [batches])
    return batches.served


def test_every_transition_of_one_rollout_once_per_epoch():
    iterations = served()
    assert list(iterations) == [0, 1]
    for batches in iterations.values():
        assert [len(batch) for batch in batches] == [40] * UPDATES
        epochs = [torch.cat([b.obs.state for b in batches[i : i + 2]]) for i in (0, 2, 4)]
        assert len(epochs[0].unique(dim=0)) == 80
        assert all(torch.equal(epoch.unique(dim=0), epochs[0].unique(dim=0)) for epoch in epochs)
    assert not torch.equal(iterations[0][0].obs.state, iterations[1][0].obs.state)


def test_shuffling_differs_between_iterations_and_follows_the_seed():
    def order(seed, iteration):
        torch.manual_seed(0)  # the same networks
        batches = served(seed=seed)[iteration]
        epoch = torch.cat([b.obs.state for b in batches[:2]])
        return epoch.unique(dim=0, return_inverse=True)[1].tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) != order(1, 1)


def test_environments_go_on_where_the_last_iteration_left_them():
    datamodule = data(num_steps=3)
    starts = []
    collect = datamodule.rollouts.collect

    def spy(actor, states, *rest, **options):
        starts.append(states)
        return collect(actor, states, *rest, **options)

    datamodule.rollouts.collect = spy
    fit(module(), datamodule, 3)
    assert len(starts) == 3
    assert starts[1].elapsed.max() == 3
    assert starts[2].elapsed.max() == 6
    resumed = data(num_steps=3)
    resumed.load_state_dict(datamodule.state_dict())
    assert resumed.state_dict()["states"].keys() == datamodule.state_dict()["states"].keys()


def test_a_fresh_data_module_has_nothing_to_save():
    datamodule = data()
    assert datamodule.state_dict() == {}
    datamodule.load_state_dict({})


class Terminated(lightning.Callback):
    """Pretends that SIGTERM arrives when an iteration begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        trainer._signal_connector.received_sigterm = True


def test_a_request_to_end_is_heard_during_rerollouts():
    datamodule, model = data(), module(advantage=MonteCarloRerollout(num_samples=1))
    with pytest.raises(SIGTERMException):
        fit(model, datamodule, 1, [Terminated()])
    assert model.env_steps == 0  # no estimate was completed


@pytest.mark.parametrize(
    "options",
    [
        {"num_envs": 0},
        {"num_steps": 0},
        {"num_minibatches": -1},
        {"update_epochs": 0},
        {"num_minibatches": 3},
        {"num_workers": -1},
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"data.{name} is ") as refused:
        data(**options)
    assert is_sentence(str(refused.value))
