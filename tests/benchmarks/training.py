"""What the benchmarks of training share: their options, a quiet Trainer with a clock, a comparison of weights."""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice

import lightning
import torch
from torch import Tensor

from rlft.types import DataSource, TensorRows


def begin(description: str, updates: int, threads: int) -> argparse.Namespace:
    """Reads the options, whose defaults these are, and says where the figures come from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--updates", type=int, default=updates)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=threads)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    versions = f"torch {torch.__version__}, lightning {lightning.__version__}"
    print(f"{versions}, {args.threads} threads, load {os.getloadavg()[0]:.2f}")
    return args


class Served(lightning.LightningDataModule, DataSource):
    """Serves the first `updates` minibatches as one epoch."""

    def __init__(self, batches: Iterable[TensorRows], updates: int) -> None:
        super().__init__()
        self.batches, self.updates = batches, updates

    def train_dataloader(self) -> Served:
        return self

    def __len__(self) -> int:
        return self.updates

    def __iter__(self) -> Iterator[TensorRows]:
        return islice(self.batches, self.updates)


class Clock(lightning.Callback):
    """Seconds from the first to the last batch: the Trainer's start is not what a long run pays for."""

    seconds = 0.0

    def on_train_epoch_start(self, *_: object) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.started


def train(
    module: lightning.LightningModule, batches: Iterable[TensorRows], updates: int, *callbacks: lightning.Callback
) -> float:
    """Trains `module` on so many minibatches and returns the seconds that took."""
    clock = Clock()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        callbacks=[*callbacks, clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10**9,
    )
    trainer.fit(module, datamodule=Served(batches, updates))
    return clock.seconds


def check_same(
    ours: Iterable[Tensor], theirs: Iterable[Tensor], start: Iterable[Tensor], updates: int, tolerance: float
) -> None:
    """Compares the weights of both sides after some updates from the weights `start`."""
    moved = 0.0
    for a, b, c in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=0)
        moved = max(moved, float((a - c).detach().abs().max()))
    print(f"weights agree to {tolerance:g} after {updates} updates, in which they moved by up to {moved:.4f}")
