"""Whether a worker gets on: it counts its env steps in memory that the main process reads, and sends nothing.

A deadline for a whole request would have to know how fast the machine, the task and the policy are. A step of all
environments takes milliseconds, or seconds at worst, however long the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, cast

from torch import Tensor

from rlft.types import BatchEnv, EnvFactory, EnvStates, Obs, StagedEnv, Step

STEP_PATIENCE = 300.0  # seconds in which a worker must make one step of its environments, or receive, or send
BUILD_PATIENCE = 1800.0  # seconds in which it must import the simulator and build environments, perhaps over a network


class Cell(Protocol):
    """One number, such as a `RawValue` in memory that processes share."""

    value: int


class Heartbeat:
    """Written by a worker, read by the main process. There is no lock, which a worker could take to its grave.

    Args:
        beats: how often the worker has got on.
        building: 1 while it may take long to.
    """

    def __init__(self, beats: Cell, building: Cell) -> None:
        self.beats, self.is_building = beats, building
        self._heard = 0
        self._silence = 0.0  # seconds

    def beat(self) -> None:
        """Called by the worker: it has got on."""
        self.beats.value += 1

    @contextmanager
    def building(self) -> Iterator[None]:
        """Called by the worker: what happens within makes no steps and may take long."""
        self.is_building.value = 1
        yield
        self.is_building.value = 0
        self.beat()

    def expect(self) -> None:
        """Called by the main process: from now on the worker has something to do."""
        self._silence = 0.0

    def silent(self, seconds: float) -> bool:
        """Called by the main process: whether the worker hangs.

        Args:
            seconds: since the last call, as far as the main process was awake: when both were suspended and go on,
                nobody hangs.
        """
        heard = self.beats.value
        self._silence = self._silence + seconds if heard == self._heard else 0.0
        self._heard = heard
        return self._silence > self.patience

    @property
    def patience(self) -> float:
        """Seconds of silence that mean something is wrong."""
        return BUILD_PATIENCE if self.is_building.value else STEP_PATIENCE


class BeatingFactory(EnvFactory):
    """Environments that beat with every step."""

    def __init__(self, factory: EnvFactory, heartbeat: Heartbeat) -> None:
        self._factory, self._heartbeat = factory, heartbeat

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` environments; see `EnvFactory.make`."""
        with self._heartbeat.building():
            return _BeatingEnv(self._factory.make(num_envs), self._heartbeat)


class _BeatingEnv:
    """Implements `rlft.types.BatchEnv`, and `StagedEnv` if the other one does."""

    def __init__(self, env: BatchEnv, heartbeat: Heartbeat) -> None:
        self.spec, self.num_envs = env.spec, env.num_envs
        self.save, self.activate = env.save, env.activate
        self._env, self._heartbeat = env, heartbeat

    def step(self, action: Tensor) -> Step:
        self._heartbeat.beat()
        return self._env.step(action)

    def restore(self, rows: Sequence[int], states: EnvStates) -> None:
        self._heartbeat.beat()
        self._env.restore(rows, states)

    def initial_states(self, seed: int) -> EnvStates:
        self._heartbeat.beat()
        return self._env.initial_states(seed)

    def prelude(self, stage: str) -> Iterator[Tensor]:
        return cast(StagedEnv, self._env).prelude(stage)

    def begin(self, stage: str) -> tuple[Obs, Tensor]:
        return cast(StagedEnv, self._env).begin(stage)
