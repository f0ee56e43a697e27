"""Re-rollouts of one iteration: the simulator with the rollout's states at hand, and the accounts of what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable

from rlft.types import Actor, Branches, Jobs, Rollouts, Visited


class IterationRerollouts:
    """Re-rollouts from the states of one iteration's rollout; implements `rlft.types.Rerollouts`.

    Args:
        rollouts: the environments.
        actor: the policy that collected the rollout.
        visited: the states of the rollout.
        seed: the run's seed.
        iteration: addresses the noise.
        progress: told now and then how many jobs of how many have been begun.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        actor: Actor,
        visited: Visited,
        seed: int,
        iteration: int,
        progress: Callable[[int, int], None] = lambda begun, total: None,
    ) -> None:
        self.spec = rollouts.spec
        self.visited = visited
        self.actor = actor
        self.sim_steps = 0
        self._rollouts, self._seed, self._iteration, self._progress = rollouts, seed, iteration, progress
        self._seconds, self._jobs, self._useful_steps, self._invalid = 0.0, 0, 0, 0

    def play(self, actor: Actor, jobs: Jobs, gamma: float) -> Branches:
        """Plays `jobs` with `actor`; see `rlft.types.Rollouts.play`."""
        started = time.perf_counter()
        branches, sim_steps = self._rollouts.play(
            actor,
            self.visited.states,
            jobs,
            gamma=gamma,
            seed=self._seed,
            iteration=self._iteration,
            progress=lambda begun: self._progress(begun, len(jobs)),
        )
        self._seconds += time.perf_counter() - started
        self._jobs += len(jobs)
        self._invalid += int((~branches.valid).sum())
        self._useful_steps += int(branches.steps[branches.valid].sum())
        self.sim_steps += sim_steps
        return branches

    def metrics(self) -> dict[str, float]:
        """What the re-rollouts of this iteration cost; nothing if there were none."""
        if not self._jobs:
            return {}
        return {
            "time/rerollout": self._seconds,
            "charts/rerollouts_invalid": self._invalid,
            "charts/rerollouts_per_second": self._jobs / self._seconds,
            "charts/rerollout_length": self._useful_steps / max(1, self._jobs - self._invalid),
            "charts/rerollout_useful_share": self._useful_steps / self.sim_steps,
        }
