"""Where training episodes begin: as the task has it, or in a stage of it, such as with the object grasped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from rlft.types.environment import BatchEnv
from rlft.types.observation import Obs

ORDINARY = ""  # the stage of an episode that begins as the task has it


@dataclass(frozen=True)
class StartMixture:
    """How often training episodes begin in which stage; all others begin as the task has it."""

    stages: tuple[str, ...]
    shares: tuple[float, ...]  # of all episodes; together at most 1

    @classmethod
    def even(cls, stages: Sequence[str], share: float) -> StartMixture:
        """Every stage as often as another, together `share` of all episodes."""
        return cls(tuple(stages), (share / len(stages),) * len(stages))

    def at(self, place: float) -> str:
        """The stage of an episode whose number was drawn to be at `place`, uniform in [0, 1)."""
        for stage, share in zip(self.stages, self.shares, strict=True):
            if place < share:
                return stage
            place -= share
        return ORDINARY


class StagedEnv(BatchEnv, Protocol):
    """Environments whose episodes can begin in the stages that `spec.stages` names."""

    def prelude(self, stage: str) -> Iterator[Tensor]:
        """Actions `[N, A]` that bring environments from an ordinary start into a stage.

        Each is made when the environments have been stepped with the one before.
        """
        ...

    def begin(self, stage: str) -> tuple[Obs, Tensor]:
        """Has episodes begin where the environments are, which forget what was before.

        Returns what is observed, `[N]`, and which environments are in the stage, `[N]` bool.
        """
        ...
