"""What the tests of schedules share: learning rates as they are used, metrics as a script has them."""

import json

import lightning
import torch

from rlft.modules.metrics import log_metrics
from tests.support.training import run


class Rates(lightning.Callback):
    """The learning rate of every gradient step, by group."""

    def __init__(self):
        self.used = {}

    def on_train_batch_end(self, trainer, *_):
        for group in trainer.optimizers[0].param_groups:
            self.used.setdefault(group["name"], []).append(group["lr"])


class Scripted(lightning.Callback):
    """Says what a metric is at the start and after every iteration; `None` where it is not measured."""

    def __init__(self, values, name="eval/success_rate"):
        self.values, self.name = values, name

    def on_train_start(self, trainer, pl_module):
        if trainer.current_epoch == 0 and self.values[0] is not None:
            log_metrics(trainer, {self.name: self.values[0]}, 0)

    def on_train_epoch_end(self, trainer, pl_module):
        if (value := self.values[trainer.current_epoch + 1]) is not None:
            pl_module.add_metrics({self.name: value})


def with_callbacks(*callbacks):
    """The command line's option for callbacks, each of them `(class name, options)`."""
    return f"--trainer.callbacks={json.dumps([{'class_path': name, 'init_args': o} for name, o in callbacks])}"


def last_checkpoint(run_dir):
    """The weights, and Adam's state by the name of the tensor."""
    checkpoint = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
    state = checkpoint["optimizer_states"][0]["state"]
    names = checkpoint["optimizer_parameters"]
    return checkpoint["state_dict"], {names[i]: moments for i, moments in state.items()}


def whole_and_resumed(log_dir, option, stop, iterations):
    """The run directories of a run that never stopped, and of one that was continued after `stop` iterations."""
    whole = run(log_dir, option, f"--trainer.max_epochs={iterations}")
    first = run(log_dir, option, f"--trainer.max_epochs={stop}")
    checkpoint = f"--ckpt_path={first / 'checkpoints/last.ckpt'}"
    return whole, run(log_dir, option, f"--trainer.max_epochs={iterations}", checkpoint)
