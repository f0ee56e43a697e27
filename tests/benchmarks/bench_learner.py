"""How much Lightning costs the learner: updates per second of a real Trainer and of a plain PyTorch loop.

    python tests/benchmarks/bench_learner.py [--updates 500] [--repeats 5] [--threads 2]

Both sides do the same updates on the same minibatches of 1000 synthetic transitions of PickCube's shapes: the same
losses, one Adam with a group for the actor and one for the critic, one joint gradient clipping. First their weights
after some updates are compared (to 1e-5), then the two take turns and medians are printed. The ratio Lightning / plain
has the goal 0.9; what is missing to 1 is the Trainer's bookkeeping and the module's metrics.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import time
import warnings
from collections.abc import Iterator
from statistics import median

import lightning
import torch

from rlft.advantage import GAE
from rlft.modules import FinetuneModule
from rlft.networks.actors import gaussian_log_prob
from rlft.types import Batch, Transition
from rlft.update import PPO

BATCH, OBS, ACTION, MINIBATCHES = 1000, 42, 8, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    versions = f"torch {torch.__version__}, lightning {lightning.__version__}"
    print(f"{versions}, {args.threads} threads, load {os.getloadavg()[0]:.2f}")
    start = FinetuneModule(OBS, ACTION, GAE(), PPO(target_kl=None))  # every update is done
    batches = synthetic_batches(start)
    check_same_weights(start, batches)
    pairs = [
        (run_lightning(start, batches, args.updates)[1], run_plain(start, batches, args.updates)[1])
        for _ in range(args.repeats)
    ]
    print(f"Lightning            {median(args.updates / ours for ours, _ in pairs):8.1f} updates/s")
    print(f"plain PyTorch        {median(args.updates / plain for _, plain in pairs):8.1f} updates/s")
    print(f"ratio (goal 0.9)     {median(plain / ours for ours, plain in pairs):8.3f}")


@torch.no_grad()
def synthetic_batches(module: FinetuneModule) -> list[Batch]:
    """Minibatches as a policy would have made them: actions near its mean, so that PPO's ratios stay near 1."""
    batches = []
    for _ in range(MINIBATCHES):
        obs = torch.randn(BATCH, OBS)
        mean, log_std = module.actor(obs), module.actor.log_std
        action = mean + log_std.exp() * torch.randn_like(mean)
        log_prob = gaussian_log_prob(action, mean, log_std)
        value = module.critic(obs)
        target, zeros = value + torch.randn(BATCH), torch.zeros(BATCH)
        nowhere = Transition(zeros, obs[:, :0], zeros)
        batches.append(Batch(obs, action, log_prob, torch.randn(BATCH), value, target, nowhere))
    return batches


class Served(lightning.LightningDataModule):
    """Serves the same minibatches in turn, `updates` of them, as one epoch."""

    def __init__(self, batches: list[Batch], updates: int) -> None:
        super().__init__()
        self.batches, self.updates = batches, updates

    def train_dataloader(self) -> Served:
        return self

    def __len__(self) -> int:
        return self.updates

    def __iter__(self) -> Iterator[Batch]:
        return (self.batches[i % len(self.batches)] for i in range(self.updates))


class Clock(lightning.Callback):
    """Seconds from the first to the last batch: the Trainer's start is not what a long run pays for."""

    seconds = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.started


def run_lightning(start: FinetuneModule, batches: list[Batch], updates: int) -> tuple[FinetuneModule, float]:
    module, clock = copy.deepcopy(start), Clock()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10**9,
    )
    trainer.fit(module, datamodule=Served(batches, updates))
    return module, clock.seconds


def run_plain(start: FinetuneModule, batches: list[Batch], updates: int) -> tuple[FinetuneModule, float]:
    module = copy.deepcopy(start)
    actor, critic = module.actor, module.critic
    parameters = [*actor.parameters(), *critic.parameters()]
    groups = [{"params": list(net.parameters()), "lr": module.learning_rate} for net in (actor, critic)]
    optimizer = torch.optim.Adam(groups, eps=1e-5)
    started = time.perf_counter()
    for i in range(updates):
        batch = batches[i % len(batches)]
        loss = module.advantage.critic_loss(critic, batch)[0] + module.update.actor_loss(actor, batch)[0]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, module.max_grad_norm)
        optimizer.step()
    return module, time.perf_counter() - started


def check_same_weights(start: FinetuneModule, batches: list[Batch], updates: int = 30) -> None:
    ours, plain = run_lightning(start, batches, updates)[0], run_plain(start, batches, updates)[0]
    moved = 0.0
    for a, b, c in zip(ours.parameters(), plain.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
        moved = max(moved, float((a - c).abs().max()))
    print(f"weights agree to 1e-5 after {updates} updates, in which they moved by up to {moved:.3f}")


if __name__ == "__main__":
    main()
