"""A point that must reach a goal: a task in pure torch, for tests and for trying the command line in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rlft.errors import require
from rlft.types import BatchEnv, EnvFactory, EnvSpec, EnvStates, Goals, Obs, Step


@dataclass(frozen=True)
class PointReach(EnvFactory):
    """A point in the square [-1, 1]^2 moves by up to `speed` per step; success is to be within `radius` of the goal.

    Args:
        horizon: env steps until an episode is truncated.
        radius: distance to the goal that counts as success.
        speed: distance per step of an action of 1.
    """

    horizon: int = 20
    radius: float = 0.2
    speed: float = 0.1

    def __post_init__(self) -> None:
        require(self.horizon >= 1, "data.env.horizon", self.horizon, "at least 1")
        for name, distance in (("radius", self.radius), ("speed", self.speed)):
            require(0 < distance < math.inf, f"data.env.{name}", distance, "above 0 and finite")

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` points."""
        return PointReachBatch(self, num_envs)

    def describe(self, spec: EnvSpec) -> dict[str, Any]:
        """See `EnvFactory.describe`; with the arguments that build it again."""
        again = {"class_path": "rlft.envs.PointReach", "init_args": asdict(self)}
        return {**super().describe(spec), "environment": again}


class PointReachBatch:
    """`N` points; implements `rlft.types.BatchEnv`. Observation: position, velocity of the last step, goal offset."""

    def __init__(self, config: PointReach, num_envs: int) -> None:
        self.config = config
        self.num_envs = num_envs
        bound = torch.ones(2)
        goals = Goals(achieved=slice(0, 2), offset=slice(4, 6), radius=config.radius)
        self.spec = EnvSpec("PointReach", 6, 2, -bound, bound, config.horizon, goals=goals)
        self.state = torch.zeros(num_envs, 6)  # position, last move, goal
        self.active = list(range(num_envs))

    def _obs(self) -> Obs:
        position, move, goal = self.state[:, :2], self.state[:, 2:4], self.state[:, 4:]
        return Obs(state=torch.cat([position, move, goal - position], dim=1))

    def step(self, action: Tensor) -> Step:
        """Moves the active points; see `BatchEnv.step`."""
        moved = self.state.clone()
        moved[:, 2:4] = self.config.speed * action
        moved[:, :2] = (self.state[:, :2] + moved[:, 2:4]).clamp(-1, 1)
        self.state[self.active] = moved[self.active]
        obs = self._obs()
        success = obs.state[:, 4:].norm(dim=1) <= self.config.radius
        return Step(obs=obs, reward=success.float(), terminated=success, success=success)

    def save(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The state is position, move and goal; nothing else is kept."""
        physics = self.state[list(rows)].contiguous().view(torch.uint8).clone()
        return physics, torch.zeros(len(rows), 0, dtype=torch.float64)

    def restore(self, rows: Sequence[int], states: EnvStates) -> None:
        """Puts point `rows[i]` into `states[i]`."""
        self.state[list(rows)] = states.physics.contiguous().view(torch.float32)

    def activate(self, rows: Sequence[int]) -> int:
        """Moves only these points from now on."""
        self.active = list(rows)
        return len(self.active)

    def initial_states(self, seed: int) -> EnvStates:
        """Positions and goals uniform in the square, at rest."""
        generator = torch.Generator().manual_seed(seed)
        self.state = torch.zeros(self.num_envs, 6)
        self.state[:, [0, 1, 4, 5]] = 2 * torch.rand(self.num_envs, 4, generator=generator) - 1
        physics, task = self.save(range(self.num_envs))
        zeros = torch.zeros(self.num_envs, dtype=torch.int64)
        return EnvStates(physics=physics, task=task, obs=self._obs(), elapsed=zeros, episode=zeros)
