import lightning
import pytest
import torch

from rlft.callbacks import ExplorationSchedule, FreezeSchedule
from rlft.callbacks.freeze_schedule import Freeze
from rlft.update import AWR
from tests.support.hand_made import gaussian_log_prob
from tests.support.schedules import last_checkpoint, with_callbacks
from tests.support.training import MemoryLogger, data, fit, module, run

VALUES = [-1.0, -2.0, -4.0]
POINTS = list(enumerate(VALUES))


class Watch(lightning.Callback):
    """The log standard deviation after every iteration, and what the density of its actions says that it was."""

    def __init__(self):
        self.after, self.collected = [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.after.append(pl_module.actor.log_std.detach().clone())
        rollout = trainer.datamodule.rollout
        mean = pl_module.actor(rollout.obs)
        densities = [gaussian_log_prob(rollout.action, mean, torch.full((2,), v)) for v in VALUES]
        self.collected.append([torch.allclose(d, rollout.log_prob, atol=1e-4) for d in densities])


@pytest.mark.parametrize("update", [None, AWR(log_std_min=-3.0)], ids=["PPO", "AWR with a bound"])
def test_the_policy_keeps_the_scheduled_noise_while_it_learns(update):
    watch, logger = Watch(), MemoryLogger()
    model = module(learning_rate=0.01, **({"update": update} if update else {}))
    fit(model, data(), 3, [ExplorationSchedule(POINTS), watch], logger)
    assert [after.tolist() for after in watch.after] == [[v, v] for v in VALUES]
    assert logger.series("charts/log_std") == [(80, -1.0), (160, -2.0), (240, -4.0)]


def test_rollouts_are_collected_with_the_noise_of_their_iteration():
    watch = Watch()
    fit(module(learning_rate=0.0), data(), 3, [ExplorationSchedule(POINTS), watch])
    assert watch.collected == [[True, False, False], [False, True, False], [False, False, True]]


@pytest.mark.parametrize("first", [True, False])
def test_a_freeze_schedule_frees_the_actor_but_not_the_noise(first):
    freeze, explore = FreezeSchedule([Freeze("actor", end=1)]), ExplorationSchedule(POINTS)
    watch, model = Watch(), module(learning_rate=0.01)
    before = model.actor.encoder[0].weight.detach().clone()
    fit(model, data(), 3, [freeze, explore, watch] if first else [explore, freeze, watch])
    assert [after.tolist() for after in watch.after] == [[v, v] for v in VALUES]
    assert not before.equal(model.actor.encoder[0].weight)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["actor.log_std"]


def test_a_run_that_learned_its_noise_leaves_no_moments_of_it(tmp_path):
    first = run(tmp_path, "--trainer.max_epochs=1")
    assert "actor.log_std" in last_checkpoint(first)[1]
    option = with_callbacks(("ExplorationSchedule", {"points": [[0, -1.0]]}))
    checkpoint = f"--ckpt_path={first / 'checkpoints/last.ckpt'}"
    weights, adam = last_checkpoint(run(tmp_path, option, checkpoint, "--trainer.max_epochs=2"))
    assert weights["actor.log_std"].tolist() == [-1.0, -1.0]
    assert "actor.log_std" not in adam
    assert "actor.encoder.0.weight" in adam
