"""Banks of initial states: episode number `k` of a bank begins the same way on every machine and worker.

ManiSkill seeds a batch of resets from one seed, so the start of the i-th environment depends on the batch. The bank
therefore draws blocks of a fixed size from an environment of its own, and hands out rows. A reset is then a restore.

A bank is addressed by a stream, which keeps training and evaluation apart, and a seed.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from rlft.types import BatchEnv, EnvFactory, EnvStates

BLOCK = 64  # episodes drawn together; part of the definition of an episode number, never change it
TRAINING, EVALUATION, REROLLOUT = 1, 2, 3  # streams of random numbers; only the first two have banks
EVALUATION_SEED = 2024  # of the bank that every run is evaluated on unless told otherwise


class InitialStates:
    """Initial states of one task, drawn in blocks and kept while they are in use."""

    def __init__(self, factory: EnvFactory) -> None:
        self._factory = factory
        self._env: BatchEnv | None = None
        self._block = lru_cache(maxsize=256)(self._draw)

    def get(self, stream: int, seed: int, episodes: Sequence[int]) -> EnvStates:
        """The states `[M]` in which these episodes begin."""
        rows = [self._block(stream, seed, episode // BLOCK)[[episode % BLOCK]] for episode in episodes]
        return EnvStates.cat(rows)

    def _draw(self, stream: int, seed: int, block: int) -> EnvStates:
        if self._env is None:
            self._env = self._factory.make(BLOCK)
        reset_seed = int(np.random.SeedSequence([stream, seed, block]).generate_state(1)[0] % 2**31)
        states = self._env.initial_states(reset_seed)
        numbers = torch.arange(block * BLOCK, (block + 1) * BLOCK)
        return replace(states, episode=numbers)
