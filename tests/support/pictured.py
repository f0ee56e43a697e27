"""`PointReach` seen in pictures: with five choices (stay, right, left, up, down), or by who must not see the goal."""

from dataclasses import dataclass, replace

import torch

from rlft.envs.point_reach import PointReach, PointReachBatch
from rlft.types import Obs

SIZE = 16
MOVES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


@dataclass(frozen=True)
class PicturedReach(PointReach):
    """The point is 255, the goal 128."""

    snapshots: bool = True

    def make(self, num_envs):
        return PicturedReachBatch(self, num_envs)


class PicturedReachBatch(PointReachBatch):
    """`N` points; implements `rlft.types.BatchEnv`."""

    def __init__(self, config, num_envs):
        super().__init__(config, num_envs)
        self.spec = replace(
            self.spec,
            task="PicturedReach",
            action_dim=1,
            action_low=torch.tensor([0]),
            action_high=torch.tensor([len(MOVES) - 1]),
            image=(1, SIZE, SIZE),
            choices=len(MOVES),
            snapshots=config.snapshots,
        )

    def step(self, action):
        assert action.dtype == torch.int64
        return super().step(MOVES[action[:, 0]])

    def _obs(self):
        return Obs(super()._obs().state, drawn(self.state))


def drawn(state):
    """Pictures of positions and goals."""
    image = torch.zeros(len(state), 1, SIZE, SIZE, dtype=torch.uint8)
    for what, shade in ((state[:, 4:], 128), (state[:, :2], 255)):
        x, y = ((what + 1) / 2 * (SIZE - 1)).round().long().unbind(1)
        image[torch.arange(len(state)), 0, y, x] = shade
    return image


@dataclass(frozen=True)
class PrivilegedReach(PointReach):
    """Moved by vectors; the goal is in the picture and, for demonstrators alone, among the numbers."""

    def make(self, num_envs):
        return PrivilegedReachBatch(self, num_envs)


class PrivilegedReachBatch(PointReachBatch):
    """`N` points; implements `rlft.types.BatchEnv`."""

    def __init__(self, config, num_envs):
        super().__init__(config, num_envs)
        self.spec = replace(self.spec, obs_dim=4, privileged_dim=6, image=(1, SIZE, SIZE))

    def _obs(self):
        whole = super()._obs().state
        return Obs(whole[:, :4], drawn(self.state), whole)
