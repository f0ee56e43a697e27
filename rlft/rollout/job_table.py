"""Which environment plays which re-rollout, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlft.rollout.noise import standard_normal
from rlft.types import BatchEnv, Branches, EnvStates, Jobs, Step


class JobTable:
    """One row per environment, `S` of them; a row plays one job after the other.

    Args:
        env: the environments.
        jobs: all re-rollouts, `[J]`.
        address: of the noise; a job adds its own number.
        noise_dim: numbers of it per decision.
    """

    def __init__(self, env: BatchEnv, jobs: Jobs, address: Sequence[int], noise_dim: int) -> None:
        size, spec = env.num_envs, env.spec
        self.env, self.jobs, self.address = env, jobs, address
        self.job = torch.full((size,), -1)  # which job a row plays, -1 for none
        self.obs = spec.blank_obs(size)
        self.length, self.horizon = torch.zeros(2, size, dtype=torch.int64)  # env steps done, and at most
        self.total, self.discount = torch.zeros(2, size)
        self.noise = torch.zeros(size, spec.max_episode_steps, noise_dim)
        self.has_first_action = torch.zeros(size, dtype=torch.bool)
        self.first_action = spec.blank_actions(size)
        nothing = self.job[:0]
        self.played = [nothing]
        self.branches = [
            Branches(
                discounted_return=self.total[:0],
                steps=nothing,
                terminated=nothing.bool(),
                end_obs=self.obs[:0],
                valid=nothing.bool(),
            )
        ]

    def idle(self) -> list[int]:
        """Rows that play nothing."""
        return (self.job < 0).nonzero().flatten().tolist()

    def busy(self) -> Tensor:
        """Rows that play a job, `[b]`."""
        return (self.job >= 0).nonzero().flatten()

    def begin(self, rows: list[int], taken: Sequence[int], states: EnvStates) -> None:
        """Rows begin jobs `taken`, each in its state."""
        number = torch.tensor(taken)
        jobs = self.jobs[number]
        begin = states[jobs.state]
        self.env.restore(rows, begin)
        self.job[rows], self.obs[rows] = number, begin.obs
        self.length[rows], self.horizon[rows] = 0, jobs.horizon
        self.total[rows], self.discount[rows] = 0.0, 1.0
        self.has_first_action[rows], self.first_action[rows] = jobs.has_first_action, jobs.first_action
        columns = (jobs.noise, jobs.noise_sign, jobs.noise_start, jobs.noise_start + jobs.horizon)
        for row, address, sign, start, end in zip(rows, *(column.tolist() for column in columns), strict=True):
            draws = standard_normal([*self.address, address], end, self.noise.shape[-1])  # [end, Z]
            self.noise[row, : end - start] = sign * draws[start:]

    def noise_of(self, busy: Tensor) -> Tensor:
        """What addresses the next decision of rows `busy`, `[b, Z]`."""
        return self.noise[busy, self.length[busy]]

    def actions(self, busy: Tensor, chosen: Tensor) -> Tensor:
        """Unclipped actions of all rows `[S, A]`: those given, else what the policy has `chosen [b, A]`."""
        given = (self.length == 0) & self.has_first_action  # [S]
        actions = torch.zeros_like(self.first_action)
        actions[busy] = chosen
        return torch.where(given[:, None], self.first_action, actions)

    def stepped(self, busy: Tensor, step: Step, gamma: float) -> None:
        """Notes what a step of rows `busy` returned, and which of them have finished."""
        self.obs[busy] = step.obs
        self.total[busy] += self.discount[busy] * step.reward
        self.discount[busy] *= gamma
        self.length[busy] += 1
        valid = step.obs.state.isfinite().all(1) & step.reward.isfinite()
        ended = step.terminated | ~valid | (self.length[busy] >= self.horizon[busy])
        if ended.any():
            rows = busy[ended]
            self.played.append(self.job[rows])
            self.branches.append(
                Branches(
                    discounted_return=self.total[rows],
                    steps=self.length[rows],
                    terminated=step.terminated[ended],
                    end_obs=step.obs[ended],
                    valid=valid[ended],
                )
            )
            self.job[rows] = -1

    def results(self) -> tuple[Tensor, Branches]:
        """Rows of `jobs` that have been played `[j]`, and what came of them `[j]`."""
        return torch.cat(self.played), Branches.cat(self.branches)
