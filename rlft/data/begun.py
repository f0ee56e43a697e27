"""In which stages the episodes of a rollout have begun, and what came of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from rlft.envs.initial_states import stage_of
from rlft.types import ORDINARY, Rollout, StartMixture


class Begun:
    """Follows the episodes of all environments, from one rollout to the next.

    Args:
        stages: in which the running episode of every environment has begun.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self.stages = list(stages)
        self._ended: dict[str, list[bool]] = defaultdict(list)  # successes, by stage, since `metrics`

    @classmethod
    def at(cls, episode: Tensor, starts: StartMixture | None, seed: int) -> Begun:
        """Episodes `[N]` that begin now."""
        return cls([stage_of(starts, seed, number) for number in episode.tolist()])

    def follow(self, rollout: Rollout, episode: Tensor, starts: StartMixture | None, seed: int) -> None:
        """Takes note of a rollout of all environments, in which episodes `[N]` ran at first."""
        running = episode.clone()
        for t, n in rollout.done.nonzero().tolist():  # in the order of time
            self._ended[self.stages[n]].append(bool(rollout.success[t, n]))
            running[n] += len(running)
            self.stages[n] = stage_of(starts, seed, int(running[n]))

    def metrics(self) -> dict[str, float]:
        """Success of the episodes that have ended since the last time, by stage; nothing if none began in one."""
        ended, self._ended = self._ended, defaultdict(list)
        if not ended.keys() - {ORDINARY}:
            return {}
        return {f"train/success_rate/{stage or 'ordinary'}": sum(of) / len(of) for stage, of in sorted(ended.items())}
