"""Rollouts of several learners: each has a share of the environments, and all get what came of all of them.

Initial states and noise are addressed by the number of an environment, an episode or a job, so the result is bit for
bit that of one learner with all environments.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.learners import gathered, place
from rlft.rollout.local import LocalRollouts
from rlft.rollout.processes import ProcessRollouts, side_by_side
from rlft.types import (
    Actor,
    Branches,
    EnvStates,
    EpisodeResults,
    Jobs,
    RecordedEpisodes,
    Rollout,
    StartMixture,
    Visited,
)


class SharedRollouts:
    """The environments of a run, split over its learners; implements `rlft.types.Rollouts`.

    All learners have to call the same methods in the same order, except for `record`.

    Args:
        own: those environments that this learner has.
    """

    def __init__(self, own: LocalRollouts | ProcessRollouts) -> None:
        self.num_envs = own.num_envs
        self.spec = own.spec
        self.workers_replaced = 0
        self._own = own

    def initial_states(self, seed: int, starts: StartMixture | None = None) -> EnvStates:
        """The first episode of every environment."""
        return EnvStates.cat(gathered(self._own.initial_states(seed, starts)))

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
        """Acts for `num_steps`; see `RolloutWorker.collect`.

        Raises:
            UserError: if the learners do not act with the same policy.
        """
        mine = place().share(self.num_envs)
        rows = slice(mine.start, mine.stop)
        part = self._own.collect(
            actor,
            states[rows],
            num_steps,
            seed,
            iteration,
            keep_visited=keep_visited,
            noise_scale=None if noise_scale is None else noise_scale[rows],
            starts=starts,
        )
        everybody = gathered((part, self._own.workers_replaced, _checksum(actor)))
        parts, replaced, checksums = zip(*everybody, strict=True)
        if len({*checksums}) > 1:
            raise UserError(
                "The learners have come to different weights; all of them need the same files, and networks and losses "
                "that are the same function on all devices."
            )
        self.workers_replaced = sum(replaced)
        return side_by_side(parts)

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
        """Plays re-rollouts, dealt out in turn; see `RolloutWorker.play`."""
        here = place()
        rows = torch.arange(len(jobs))
        own = self._own.play(
            actor,
            states,
            jobs[rows[here.rank :: here.count]],
            gamma=gamma,
            seed=seed,
            iteration=iteration,
            progress=lambda begun: progress(min(begun * here.count, len(jobs))),
        )
        branches, simulated = zip(*gathered(own), strict=True)
        dealt = torch.cat([rows[rank :: here.count] for rank in range(here.count)])
        return Branches.cat(branches)[dealt.argsort()], sum(simulated)

    def evaluate(
        self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool, first: int = 0
    ) -> EpisodeResults:
        """Plays evaluation episodes from number `first` on, split evenly; see `RolloutWorker.evaluate`."""
        mine = place().share(num_episodes)
        own = None  # there may be fewer episodes than learners
        if mine:
            begin = first + mine.start
            own = self._own.evaluate(actor, len(mine), seed=seed, deterministic=deterministic, first=begin)
        return EpisodeResults.cat([part for part in gathered(own) if part is not None])

    def record(self, actor: Actor, episodes: Sequence[int], *, seed: int, deterministic: bool) -> RecordedEpisodes:
        """Plays evaluation episodes and keeps their states, without the other learners: only one makes films."""
        return self._own.record(actor, episodes, seed=seed, deterministic=deterministic)

    def close(self) -> None:
        """Ends the workers of this learner."""
        self._own.close()


def _checksum(actor: Actor) -> int:
    """Of the weights, bit for bit."""
    found = 0
    for tensor in actor.state_dict().values():
        found = zlib.crc32(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy(), found)
    return found
