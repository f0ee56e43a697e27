"""Goals in observations: what hindsight needs to know of a task."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlft.types.observation import Obs


@dataclass(frozen=True)
class Goals:
    """Which numbers of an observation's state depend on the goal, and how success follows from an observation.

    Success is to have something within `radius` of the goal, with everything in `still` at rest and everything in
    `low` below `ceiling`. It terminates the episode, and the sparse reward is 1 with it, else 0: what another goal
    would have made of a step needs no simulator.

    `G`: numbers of a goal.
    """

    achieved: slice  # columns [G] of what is to be at the goal
    radius: float  # in units of the goal: what is at most so far away is at the goal, and has not moved
    offset: slice | None = None  # columns [G]: the goal less what is achieved; where it is not observed, `goal` is
    goal: slice | None = None  # columns [G] of the goal itself, where it is observed
    still: slice | None = None  # columns of speeds that success needs to be low
    speed: float = 0.0  # how low: at most this, either way
    low: slice | None = None  # columns that success needs to be below `ceiling`
    ceiling: float = 0.0

    def __post_init__(self) -> None:
        if self.offset is None and self.goal is None:
            raise ValueError("Goals need the columns of the goal, or those of the offset to it.")

    def reached(self, obs: Obs) -> Tensor:
        """The goal `[..., G]` that would have been reached."""
        return obs.state[..., self.achieved]

    def put(self, obs: Obs, goal: Tensor) -> Obs:
        """What `obs [...]` would have been with another `goal [..., G]`."""
        state = obs.state.clone()
        if self.offset is not None:
            state[..., self.offset] = goal - self.reached(obs)
        if self.goal is not None:
            state[..., self.goal] = goal
        return replace(obs, state=state)

    def success(self, obs: Obs) -> Tensor:
        """Whether a step that leads to `obs [...]` succeeds, `[...]` bool."""
        offset = obs.state[..., self.goal] - self.reached(obs) if self.offset is None else obs.state[..., self.offset]
        succeeds: Tensor = offset.norm(dim=-1) <= self.radius
        if self.still is not None:
            succeeds &= obs.state[..., self.still].abs().amax(-1) <= self.speed
        if self.low is not None:
            succeeds &= obs.state[..., self.low].amax(-1) < self.ceiling
        return succeeds

    def moved(self, start: Tensor, now: Tensor) -> Tensor:
        """Whether what has reached `now [..., G]` is farther than `radius` from `start [..., G]`, `[...]` bool."""
        away: Tensor = (now - start).norm(dim=-1) > self.radius
        return away

    def outcome(self, next_obs: Obs, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Sparse reward `[...]` and termination `[...]` bool of a step to `next_obs [...]`, had this been the goal."""
        success = self.success(self.put(next_obs, goal))
        return success.to(torch.float32), success
