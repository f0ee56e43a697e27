"""Rollouts in worker processes, here or on other machines: one message there and one back per rollout."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlft.learners import shares
from rlft.rollout.worker_pool import ATTEMPTS, WorkerDied, WorkerPool
from rlft.rollout.worker_process import Processes
from rlft.rollout.workers import Workers
from rlft.types import (
    Actor,
    Branches,
    EnvFactory,
    EnvSpec,
    EnvStates,
    EpisodeResults,
    Jobs,
    RecordedEpisodes,
    Rollout,
    StartMixture,
    Visited,
)


class ProcessRollouts:
    """The environments of a run, split over worker processes; implements `rlft.types.Rollouts`.

    Args:
        factory: how to build the environments.
        num_envs: environments that the run has.
        num_workers: processes; each takes a contiguous share of the environments.
        workers: where these live; by default on this machine.
        env_ids: which of the run's environments are here; by default all.

    Raises:
        UserError: if the workers cannot build the environments as configured, or there is no place for any of them.
        WorkerDied: if a worker fails now, or again and again in any later call. The others are ended first.
    """

    def __init__(
        self,
        factory: EnvFactory,
        num_envs: int,
        num_workers: int,
        workers: Workers | None = None,
        env_ids: range | None = None,
    ) -> None:
        self.num_envs = num_envs
        self._env_ids = range(num_envs) if env_ids is None else env_ids
        self.shares = shares(len(self._env_ids), min(num_workers, len(self._env_ids)))  # places in `env_ids`
        site = (workers or Processes()).open(factory, max(len(share) for share in self.shares))
        self._pool = WorkerPool(site, len(self.shares))
        # nothing is lost yet, and what fails at the start is likely to fail again: one attempt
        specs: list[EnvSpec] = self._pool.call("spec", {}, [{}] * len(self.shares), attempts=1)
        self.spec = specs[0]

    @property
    def workers_replaced(self) -> int:
        """Workers that died, failed or hung so far."""
        return self._pool.replaced

    def initial_states(self, seed: int, starts: StartMixture | None = None) -> EnvStates:
        """The first episode of every environment."""
        own = [{"env_ids": self._env_ids[share.start : share.stop]} for share in self.shares]
        return EnvStates.cat(self._pool.call("initial_states", {"seed": seed, "starts": starts}, own))

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
        common = {
            "actor": _on_cpu(actor),
            "num_steps": num_steps,
            "seed": seed,
            "iteration": iteration,
            "num_envs": self.num_envs,
            "keep_visited": keep_visited,
            "starts": starts,
        }
        own = []
        for share in self.shares:
            part = slice(share.start, share.stop)
            scale = None if noise_scale is None else noise_scale[part]
            own.append({"env_ids": self._env_ids[part], "states": states[part], "noise_scale": scale})
        return side_by_side(self._pool.call("collect", common, own))

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
        """Plays re-rollouts, which all workers take off one queue; see `RolloutWorker.play`.

        What a worker had taken when it died is missing at the end, and played once more.
        """
        addressed = {"gamma": gamma, "seed": seed, "iteration": iteration}
        common = {"actor": _on_cpu(actor), "states": states, "jobs": jobs, **addressed}
        answers: list[tuple[torch.Tensor, Branches, int]] = []
        played = torch.zeros(len(jobs), dtype=torch.bool)  # [J]
        for _ in range(ATTEMPTS):
            missing = (~played).nonzero().flatten().tolist()
            self._pool.queue.fill(missing)
            report = partial(self._report, progress, len(jobs) - len(missing))
            answers += self._pool.call("play", common, [{}] * len(self.shares), report)
            rows, branches, simulated = zip(*answers, strict=True)
            played[torch.cat(rows)] = True
            if played.all():
                progress(len(jobs))
                return Branches.cat(branches)[torch.cat(rows).argsort()], sum(simulated)
        self.close()
        raise WorkerDied(
            f"Re-rollouts were lost {ATTEMPTS} times in one request; the last worker to lose some "
            f"{self._pool.last_failure}."
        )

    def _report(self, progress: Callable[[int], None], played: int) -> None:
        progress(played + self._pool.queue.taken())

    def evaluate(
        self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool, first: int = 0
    ) -> EpisodeResults:
        """Plays evaluation episodes from number `first` on, split evenly; see `RolloutWorker.evaluate`."""
        episodes = range(first, first + num_episodes)
        return EpisodeResults.cat(self._episodes("evaluate", actor, episodes, seed, deterministic))

    def record(self, actor: Actor, episodes: Sequence[int], *, seed: int, deterministic: bool) -> RecordedEpisodes:
        """Plays evaluation episodes, split evenly, and keeps their states; see `RolloutWorker.record`."""
        return RecordedEpisodes.cat(self._episodes("record", actor, episodes, seed, deterministic))

    def _episodes(
        self, method: str, actor: Actor, episodes: Sequence[int], seed: int, deterministic: bool
    ) -> list[Any]:
        """What a method of the workers answers for evenly split evaluation episodes, in their order."""
        parts = shares(len(episodes), min(len(episodes), len(self.shares)))
        common = {"actor": _on_cpu(actor), "seed": seed, "deterministic": deterministic}
        own = [{"episodes": episodes[part.start : part.stop]} for part in parts]
        return self._pool.call(method, common, own)

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        self._pool.close()


def _on_cpu(actor: Actor) -> Actor:
    """The actor, or a copy: else every worker would open the device that its weights are on."""
    return actor if actor.device.type == "cpu" else copy.deepcopy(actor).to("cpu")


def side_by_side(parts: Iterable[tuple[Rollout, EnvStates, Visited]]) -> tuple[Rollout, EnvStates, Visited]:
    """What environments have collected that are simulated apart, in their order."""
    rollouts, ends, visited = zip(*parts, strict=True)
    return Rollout.cat(rollouts, dim=1), EnvStates.cat(ends), Visited.cat(visited)
