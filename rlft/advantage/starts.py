"""Where the re-rollouts of an estimate begin, and what they returned, step by step of the rollout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.advantage.sampling import MeanReturns
from rlft.types import Jobs, Rerollouts


class Starts:
    """Where re-rollouts begin, with an address for the noise that no worker influences.

    A state's number is its place in the rollout: t N + n for the one before step t of environment n, and T N more for
    one that is only led to. `before`, `after` and `actions` say for every step which of the starts is its own, -1 for
    none. With T = 2, N = 1 and an episode that ends with the first step, the numbers are 0, 2 (where the first episode
    ended), 1 (where the second began) and 3.
    """

    def __init__(self, rerollouts: Rerollouts, horizon: Tensor, *, common_noise: bool) -> None:
        visited = rerollouts.visited
        self.no_action = rerollouts.spec.blank_actions()  # [A]
        self.rows_before, self.rows_after = visited.before, visited.after  # [T, N], rows of the visited states
        self.elapsed, self.horizon, self.common_noise = visited.states.elapsed, horizon, common_noise  # [M], env steps
        self.over_before, self.over_after = horizon[visited.before] == 0, horizon[visited.after] == 0  # [T, N]
        steps, envs = visited.before.shape
        self.number = torch.full((len(horizon),), -1)  # [M]
        place = torch.arange(2 * steps * envs).view(2, steps, envs)
        self.number[visited.after] = place[1]
        self.number[visited.before] = place[0]
        self.env = self.number % envs
        self.jobs: list[Jobs] = []
        self.before = self.after = torch.full((steps, envs), -1)
        self.actions: list[Tensor] = []  # [T, N] each

    def add_states(self, before: Tensor, after: Tensor) -> None:
        """States before and after these steps (masks `[T, N]`), each once, unless nothing is left to earn in them."""
        wanted = torch.zeros(len(self.horizon), dtype=torch.bool)
        wanted[self.rows_before[before]] = wanted[self.rows_after[after]] = True
        rows = (wanted & (self.horizon > 0)).nonzero().flatten()
        rows = rows[self.number[rows].argsort()]
        place = torch.full_like(self.horizon, -1)  # [M]
        place[rows] = self._add(rows, self.no_action.expand(len(rows), -1), given=False)
        self.before, self.after = place[self.rows_before], place[self.rows_after]

    def add_actions(self, mask: Tensor, action: Tensor) -> None:
        """The states before steps `mask [T, N]`, where re-rollouts are to begin with `action [T, N, A]`."""
        where = torch.full(mask.shape, -1)
        where[mask] = self._add(self.rows_before[mask], action[mask], given=True)
        self.actions.append(where)

    def _add(self, rows: Tensor, first_action: Tensor, *, given: bool) -> Tensor:
        """Adds starts, with first actions or without, and returns which they are."""
        number = self.number[rows] + len(self.jobs) * 2 * self.before.numel()  # another one for every kind of start
        jobs = Jobs(
            state=rows,
            horizon=self.horizon[rows],
            noise=self.env[rows] if self.common_noise else number,
            noise_start=self.elapsed[rows] if self.common_noise else torch.zeros_like(rows),
            noise_sign=torch.ones(len(rows)),
            has_first_action=torch.full((len(rows),), given),
            first_action=first_action,
        )
        first = sum(map(len, self.jobs))
        self.jobs.append(jobs)
        return torch.arange(first, first + len(jobs))


@dataclass(frozen=True)
class Measured:
    """A mean of re-rollouts for every step, and its squared error; NaN where there is none."""

    mean: Tensor  # [T, N]
    squared_error: Tensor  # [T, N]


def measured_at(returns: MeanReturns, where: Tensor, over: Tensor | None = None) -> Measured:
    """The returns from starts `where [T, N]`; exactly 0 where an episode is `over [T, N]`."""
    mean, squared_error = torch.full((2, *where.shape), float("nan"))
    found = Measured(mean=mean, squared_error=squared_error)
    for grid, values in ((found.mean, returns.mean), (found.squared_error, returns.squared_error)):
        grid[where >= 0] = values[where[where >= 0]]
        if over is not None:
            grid[over] = 0.0
    return found


def covariance(returns: MeanReturns, first: Tensor, second: Tensor) -> Tensor:
    """Of the mean returns from two starts per step `[T, N]`; 0 where either is -1: its value was not sampled."""
    sampled = (first >= 0) & (second >= 0)
    shared = torch.zeros(first.shape)
    shared[sampled] = returns[first[sampled]].covariance(returns[second[sampled]])
    return shared
