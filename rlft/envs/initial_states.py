"""Banks of initial states: episode number `k` of a bank begins the same way on every machine and worker.

ManiSkill seeds a batch of resets from one seed, so the start of the i-th environment depends on the batch. The bank
therefore draws blocks of a fixed size from an environment of its own, and hands out rows. A reset is then a restore.

A bank is addressed by a stream, which keeps training and evaluation apart, and a seed. Beside them is one for every
stage that training episodes may begin in.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.types import ORDINARY, BatchEnv, EnvFactory, EnvStates, StagedEnv, StartMixture

BLOCK = 64  # episodes drawn together; part of the definition of an episode number, never change it
TRAINING, EVALUATION, REROLLOUT = 1, 2, 3  # streams of random numbers; only the first two have banks
STAGES = 4  # the stream of starts in stages: which one an episode has, and the resets that they are made of
EVALUATION_SEED = 2024  # of the bank that every run is evaluated on unless told otherwise
STAGED = 128  # starts of a stage, of which each is played from a reset; episodes share them
ATTEMPTS = 8  # blocks of resets that may be played for these


def stage_of(starts: StartMixture | None, seed: int, episode: int) -> str:
    """The stage that a training episode of a seed begins in, if it begins while the mixture is `starts`."""
    if starts is None:
        return ORDINARY
    return starts.at(_address([STAGES, seed, episode, 1]) / 2**32)


def _address(address: Sequence[int]) -> int:
    """A number below 2^32 that depends on the address alone."""
    return int(np.random.SeedSequence(list(address)).generate_state(1)[0])


class InitialStates:
    """Initial states of one task, drawn in blocks and kept while they are in use."""

    def __init__(self, factory: EnvFactory) -> None:
        self._factory = factory
        self._env: BatchEnv | None = None
        self._block = lru_cache(maxsize=256)(self._draw)
        self._staged = lru_cache(maxsize=32)(self._play)

    def get(self, stream: int, seed: int, episodes: Sequence[int], starts: StartMixture | None = None) -> EnvStates:
        """The states `[M]` in which these episodes begin.

        Raises:
            UserError: if a stage of the task cannot be reached.
        """
        return EnvStates.cat([self._start(stream, seed, e, stage_of(starts, seed, e)) for e in episodes])

    def _start(self, stream: int, seed: int, episode: int, stage: str) -> EnvStates:
        if stage == ORDINARY:
            return self._block(stream, seed, episode // BLOCK)[[episode % BLOCK]]
        row = _address([STAGES, seed, episode, 2]) % STAGED
        return replace(self._staged(seed, stage)[[row]], episode=torch.tensor([episode]))

    def _draw(self, stream: int, seed: int, block: int) -> EnvStates:
        if self._env is None:
            self._env = self._factory.make(BLOCK)
        states = self._env.initial_states(_address([stream, seed, block]) % 2**31)
        numbers = torch.arange(block * BLOCK, (block + 1) * BLOCK)
        return replace(states, episode=numbers)

    def _play(self, seed: int, stage: str) -> EnvStates:
        """The first `STAGED` resets that a stage's prelude brings into it."""
        found: list[EnvStates] = []
        for block in range(ATTEMPTS):
            states, arrived = self._played(self._draw(STAGES, seed, block), stage)
            found.append(states[arrived])
            if sum(map(len, found)) >= STAGED:
                return EnvStates.cat(found)[:STAGED]
        raise UserError(
            f"Of {ATTEMPTS * BLOCK} preludes of stage {stage!r} of {self._acting.spec.task} only "
            f"{sum(map(len, found))} ended in it, where {STAGED} starts are needed; leave the stage out."
        )

    def _played(self, states: EnvStates, stage: str) -> tuple[EnvStates, Tensor]:
        """Where a prelude leads from `states [BLOCK]`, and which of the ends are in the stage."""
        env, rows = self._acting, range(BLOCK)
        env.activate(rows)
        env.restore(rows, states)
        for action in env.prelude(stage):
            env.step(action.clamp(env.spec.action_low, env.spec.action_high))
        obs, arrived = env.begin(stage)
        physics, task = env.save(rows)
        return replace(states, physics=physics, task=task, obs=obs), arrived

    @cached_property
    def _acting(self) -> StagedEnv:
        """Environments for preludes: what is restored does not depend on the past, of what is reset nobody knows."""
        return cast(StagedEnv, self._factory.make(BLOCK))
