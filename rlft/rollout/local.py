"""Rollouts in this process."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from rlft.rollout.worker import RolloutWorker
from rlft.types import (
    Actor,
    Branches,
    EnvFactory,
    EnvStates,
    EpisodeResults,
    Jobs,
    RecordedEpisodes,
    Rollout,
    StartMixture,
    Visited,
)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch works in one thread, as it does in worker processes: more only get in each other's way on small tensors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class LocalRollouts:
    """All environments of a run in this process; implements `rlft.types.Rollouts`.

    Args:
        factory: how to build the environments.
        num_envs: how many the run has.
        env_ids: which of them are here; by default all.
    """

    def __init__(self, factory: EnvFactory, num_envs: int, env_ids: range | None = None) -> None:
        self._env_ids = range(num_envs) if env_ids is None else env_ids
        self.worker = RolloutWorker(factory, len(self._env_ids))
        self.num_envs = num_envs
        self.spec = self.worker.env.spec
        self.workers_replaced = 0

    def initial_states(self, seed: int, starts: StartMixture | None = None) -> EnvStates:
        """The first episode of every environment."""
        return self.worker.initial_states(self._env_ids, seed, starts)

    def collect(
        self,
        actor: Actor,
        states: EnvStates,
        num_steps: int,
        seed: int,
        iteration: int,
        *,
        keep_visited: bool = False,
        noise_scale: Tensor | None = None,
        starts: StartMixture | None = None,
    ) -> tuple[Rollout, EnvStates, Visited]:
        """Acts for `num_steps`; see `RolloutWorker.collect`."""
        with _one_thread():
            return self.worker.collect(
                actor,
                self._env_ids,
                states,
                num_steps,
                seed,
                iteration,
                self.num_envs,
                keep_visited=keep_visited,
                noise_scale=noise_scale,
                starts=starts,
            )

    def play(
        self,
        actor: Actor,
        states: EnvStates,
        jobs: Jobs,
        *,
        gamma: float,
        seed: int,
        iteration: int,
        progress: Callable[[int], None],
    ) -> tuple[Branches, int]:
        """Plays re-rollouts; see `RolloutWorker.play`."""
        begun = 0

        def take(count: int) -> range:
            nonlocal begun
            first, begun = begun, min(begun + count, len(jobs))
            progress(begun)
            return range(first, begun)

        with _one_thread():
            rows, branches, simulated = self.worker.play(
                actor, states, jobs, take, gamma=gamma, seed=seed, iteration=iteration
            )
        return branches[rows.argsort()], simulated

    def evaluate(
        self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool, first: int = 0
    ) -> EpisodeResults:
        """Plays evaluation episodes from number `first` on; see `RolloutWorker.evaluate`."""
        episodes = range(first, first + num_episodes)
        with _one_thread():
            return self.worker.evaluate(actor, episodes, seed=seed, deterministic=deterministic)

    def record(self, actor: Actor, episodes: Sequence[int], *, seed: int, deterministic: bool) -> RecordedEpisodes:
        """Plays evaluation episodes and keeps their states; see `RolloutWorker.record`."""
        with _one_thread():
            return self.worker.record(actor, episodes, seed=seed, deterministic=deterministic)

    def close(self) -> None:
        """Nothing to end."""
