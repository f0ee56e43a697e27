"""Real training on PointReach: through Lightning's Trainer, and through the command line."""

import lightning
import torch
from lightning.pytorch.loggers.logger import Logger
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlft.advantage import GAE
from rlft.cli import main
from rlft.data import RolloutDataModule
from rlft.envs import PointReach
from rlft.modules import FinetuneModule
from rlft.networks import GaussianActor, ValueCritic
from rlft.update import PPO
from tests.support.hand_made import REPO

UPDATES = 6  # gradient steps per iteration of `data`


def data(**options):
    """8 environments x 10 steps in 2 minibatches and 3 epochs."""
    sizes = {"num_envs": 8, "num_steps": 10, "num_minibatches": 2, "update_epochs": 3, "num_workers": 0}
    return RolloutDataModule(PointReach(), **{**sizes, **options})


def module(**options):
    """A small actor and critic for PointReach."""
    networks = {"actor": lambda o, a: GaussianActor(o, a, 16, 2), "critic": lambda o: ValueCritic(o, 16, 2)}
    return FinetuneModule(6, 2, **{"advantage": GAE(), "update": PPO(), **networks, **options})


class MemoryLogger(Logger):
    """Keeps what is logged as a list of `(step, metrics)`."""

    name = version = "memory"

    def __init__(self):
        super().__init__()
        self.logged = []

    def log_metrics(self, metrics, step=None):
        self.logged.append((step, metrics))

    def log_hyperparams(self, *_args, **_options):
        pass

    def series(self, name):
        """`(step, value)` of one metric, in the order of logging."""
        return [(step, metrics[name]) for step, metrics in self.logged if name in metrics]


def fit(model, datamodule, iterations, callbacks=(), logger=False, root=None):
    """Trains on the CPU and keeps quiet."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=iterations,
        callbacks=list(callbacks),
        logger=logger,
        default_root_dir=root,
        enable_checkpointing=any(isinstance(c, lightning.pytorch.callbacks.Checkpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        log_every_n_steps=10**9,
    )
    trainer.fit(model, datamodule=datamodule)
    return trainer


def smoke(log_dir, *options, config="gae_ppo"):
    """The arguments of `rlft fit` with the smoke overlay, and small networks unless a cloner is trained."""
    files = [REPO / f"configs/{config}.yaml", REPO / "configs/smoke.yaml", REPO / "tests/support/small_networks.yaml"]
    configs = [f"--config={file}" for file in (files[:2] if config == "bc" else files)]
    return _in_order(configs, log_dir, options)


def with_overlay(log_dir, *options, config):
    """The arguments of `rlft fit` with a config and the overlay that makes it finish in seconds."""
    path = REPO / f"configs/{config}.yaml"
    text = path.read_text()
    marks = {"Racing": "smoke_racing", "ReplayDataModule": "smoke_replay", "obs: rgb": "smoke_pixels"}
    overlay = next((name for mark, name in marks.items() if mark in text), "smoke")
    return _in_order([f"--config={path}", f"--config={REPO / 'configs' / overlay}.yaml"], log_dir, options)


def _in_order(configs, log_dir, options):
    """The arguments with all configs before all options, as `rlft fit` wants them."""
    given = [*map(str, options)]
    more = [option for option in given if option.startswith("--config=")]
    return ["fit", *configs, *more, f"--log_dir={log_dir}", *(option for option in given if option not in more)]


def run(log_dir, *options, config="gae_ppo"):
    """Trains through the command line and returns the new run directory."""
    return made_by(smoke(log_dir, *options, config=config), log_dir)


def made_by(arguments, log_dir):
    """Runs a command that trains into `log_dir`, and returns the new run directory."""
    before = set(log_dir.glob("*/version_*"))
    assert main(arguments) == 0
    (created,) = set(log_dir.glob("*/version_*")) - before
    return created


def last_weights(run_dir):
    """The tensors of a run's last policy, by name."""
    return load_file(run_dir / "policies/last.safetensors")


def same_policies(first, second):
    """Whether the last policies of two runs are bit-identical."""
    one, other = last_weights(first), last_weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def scalars(run_dir):
    """Every TensorBoard scalar of a run: name to list of `(step, value)`."""
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
