"""PointReach with stages: its prelude goes straight to the goal for some steps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from rlft.envs import PointReach
from rlft.envs.point_reach import PointReachBatch
from rlft.types import Obs

STEPS = {"close": 4, "closer": 8, "nowhere": 1}
WITHIN = {"close": 1.2, "closer": 0.8, "nowhere": 0.0}  # distances to the goal that a stage has


@dataclass(frozen=True)
class StagedReach(PointReach):
    """Episodes that begin `close` to the goal, or `closer`; no episode can begin `nowhere`."""

    def make(self, num_envs):
        return StagedReachBatch(self, num_envs)


class StagedReachBatch(PointReachBatch):
    """Implements `rlft.types.StagedEnv`."""

    def __init__(self, config, num_envs):
        super().__init__(config, num_envs)
        self.spec = replace(self.spec, stages=tuple(STEPS))

    def prelude(self, stage: str) -> Iterator[Tensor]:
        for _ in range(STEPS[stage]):
            yield (self._obs().state[:, 4:] / self.config.speed).clamp(-1, 1)

    def begin(self, stage: str) -> tuple[Obs, Tensor]:
        self.state[:, 2:4] = 0  # at rest
        obs = self._obs()
        distance = obs.state[:, 4:].norm(dim=1)
        return obs, (distance > self.config.radius) & (distance < WITHIN[stage])
