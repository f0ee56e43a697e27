"""NaN and infinity in off-policy learning: a run stops where they appear, or goes on without them."""

import pytest
import torch

from rlft.callbacks import SuccessCheckpoint
from rlft.data import ReplayDataModule
from rlft.errors import UserError
from rlft.modules import OffPolicyModule
from rlft.networks import GaussianActor, QEnsemble
from rlft.off_policy import Anchored
from tests.modules.test_bad_numbers import NAN, Spoiled, Steps
from tests.support.hand_made import is_sentence, same
from tests.support.training import MemoryLogger, fit

PARTS, LENGTH, UPDATES = 4, 10, 8  # of an iteration: parts, env steps of each, gradient steps
AT = PARTS * LENGTH + 14  # the step of an environment that is spoiled: the fourth of a second part, in iteration 2


def data(**options):
    return ReplayDataModule(
        Spoiled(**{"at": AT, **options}), 8, PARTS * LENGTH, LENGTH, UPDATES / 320, 32, num_workers=0
    )


class SpoiledLoss(Anchored):
    """The fourth loss of the actor is not a number."""

    losses = 0

    def loss(self, *arguments):
        loss, metrics = super().loss(*arguments)
        self.losses += 1
        return (loss * NAN if self.losses == 4 else loss), metrics


def module(**options):
    torch.manual_seed(0)
    networks = {"actor": lambda o, a: GaussianActor(o, a, 16, 2), "critic": lambda o, a: QEnsemble(o, a, 2, 16)}
    return OffPolicyModule(6, 2, **{"objective": Anchored(), "actor_interval": 1, **networks, **options})


@pytest.mark.parametrize("quantity", ["reward", "obs"])
def test_a_run_stops_at_a_bad_step_before_anything_is_learned_of_it(quantity, tmp_path):
    steps = Steps()
    with pytest.raises(UserError) as stopped:
        fit(module(), data(quantity=quantity), 3, [steps, SuccessCheckpoint()], root=tmp_path)
    said = str(stopped.value)
    assert is_sentence(said)
    step = 3 if quantity == "reward" else 4  # it is the next one that is decided by what was seen
    assert "Iteration 2 of the run cannot go on: " in said
    assert f"first the {quantity} of step {step} in environment 5" in said
    assert len(steps.after) == UPDATES + UPDATES // PARTS  # of the warm-up, and of the first part
    assert all(bool(tensor.isfinite().all()) for tensor in steps.after[-1].values())


def test_a_run_stops_at_a_bad_loss(tmp_path):
    with pytest.raises(UserError, match="in minibatch 4 of 32 rows the loss is nan") as stopped:
        fit(module(objective=SpoiledLoss()), data(at=-1), 2, root=tmp_path)
    assert "Iteration 2 of the run cannot go on" in str(stopped.value)


@pytest.mark.parametrize("quantity", ["reward", "obs"])
def test_a_run_goes_on_without_bad_steps(quantity):
    logger, steps, loader = MemoryLogger(), Steps(), data(quantity=quantity)
    fit(module(on_bad_numbers="skip"), loader, 3, [steps], logger)
    ((_, bad),) = logger.series("charts/bad_rows")
    kept = loader.buffer.whole
    unusable = ~kept.usable
    assert unusable.sum() == bad + (quantity == "obs")  # and the step that led there
    assert unusable[:, 5].sum() == unusable.sum()
    assert kept.usable[AT - 3, 5]
    assert not kept.usable[AT - 1, 5]
    assert len(steps.after) == 3 * UPDATES
    assert not logger.series("charts/skipped_updates")  # no minibatch has seen any
    assert all(bool(tensor.isfinite().all()) for tensor in steps.after[-1].values())


def test_a_bad_loss_costs_one_gradient_step():
    logger, steps = MemoryLogger(), Steps()
    fit(module(objective=SpoiledLoss(), on_bad_numbers="skip"), data(at=-1), 3, [steps], logger)
    pairs = enumerate(zip(steps.before, steps.after, strict=True))
    unchanged = [i for i, (before, after) in pairs if before.keys() == after.keys() and same(before, after)]
    assert unchanged == [UPDATES + 3]
    assert [count for _, count in logger.series("charts/skipped_updates")] == [1]
    assert [count for _, count in logger.series("charts/actor_updates")] == [UPDATES - 1, UPDATES]
    assert [count for _, count in logger.series("charts/critic_updates")] == [UPDATES, UPDATES - 1, UPDATES]
