"""What a ranking study simulates: states, actions in them, what these are worth, and trajectories that follow them.

The rewards of an action count until the episode's time limit, or until a later one is worth less than `tolerance`:
`horizon` env steps after the action. This is what ground truth and estimators have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.types import Actor, EnvStates, Jobs, Obs, Rollout, Rollouts

PORTION = 50  # env steps of a plain rollout between reports of progress
ACTIONS, PATHS = 1, 1_000_000  # first iterations in the address of the noise, after that of the rollout


@dataclass(frozen=True)
class Actions:
    """`N` states in the order of elapsed time, `J` actions in each, and where these led."""

    obs: Obs  # [N]
    action: Tensor  # [N, J, A], the unclipped sample, as in `Rollout`
    reward: Tensor  # [N, J]
    terminated: Tensor  # [N, J] bool
    successors: EnvStates  # [N J]


@dataclass(frozen=True)
class Returns:
    """Independent samples of Q(s, a)."""

    sample: Tensor  # [N, J, K]


@dataclass(frozen=True)
class Paths:
    """What followed the actions: `M` trajectories of up to `T` steps each, beginning in the successors."""

    reward: Tensor  # [T, N, J, M], 0 after the end
    next_obs: Obs  # [T, N, J, M], 0 after the end
    length: Tensor  # [N, J, M] int64, env steps until termination or horizon; 0 where the action ended the episode


@dataclass(frozen=True)
class Simulator:
    """A policy in its environments.

    Noise is addressed by what it is for, so that no part of a study depends on which other parts were simulated.
    """

    rollouts: Rollouts
    actor: Actor
    gamma: float
    tolerance: float  # see `MonteCarloRerollout`
    seed: int
    progress: Callable[[int, int], None]  # told how much of how much has been begun

    @property
    def farthest(self) -> int:
        """Env steps until nothing that follows counts, at most."""
        limit = self.rollouts.spec.max_episode_steps
        if self.gamma in (0, 1):
            return limit if self.gamma else 0
        return min(limit, math.ceil(math.log(self.tolerance) / math.log(self.gamma)))

    def horizon(self, states: EnvStates) -> Tensor:
        """The same from `states` on, `[M]` int64."""
        return (self.rollouts.spec.max_episode_steps - states.elapsed).clamp(max=self.farthest)

    def most_steps(self, actions: Actions) -> int:
        """Env steps of one re-rollout behind every action, at most."""
        return int(self._followers(actions, 1)[0].sum())

    def rollout(self, num_steps: int) -> tuple[Rollout, int]:
        """A plain rollout and its env steps."""
        states = self.rollouts.initial_states(self.seed)
        parts: list[Rollout] = []
        for first in range(0, num_steps, PORTION):
            self.progress(first, num_steps)
            steps = min(PORTION, num_steps - first)
            part, states, _ = self.rollouts.collect(self.actor, states, steps, self.seed, iteration=first)
            parts.append(part)
        return Rollout.cat(parts), num_steps * self.rollouts.num_envs

    def actions(self, num_states: int, num_actions: int) -> tuple[Actions, int]:
        """States that the policy visits, evenly spread over its distribution of elapsed time, and its actions there.

        Raises:
            UserError: if a rollout of one time limit visits fewer states.
        """
        initial, limit = self.rollouts.initial_states(self.seed), self.rollouts.spec.max_episode_steps
        _, _, visited = self.rollouts.collect(self.actor, initial, limit, self.seed, iteration=0, keep_visited=True)
        states = self._spread(visited.states[visited.before.flatten()], num_states)
        copies = states[torch.arange(num_states).repeat_interleave(num_actions)]  # [N J]
        parts: list[Rollout] = []
        successors: list[EnvStates] = []
        for chunk, rows, start in self._chunks(copies):
            self.progress(int(rows[0]), len(copies))
            step, _, visited = self.rollouts.collect(
                self.actor, start, 1, self.seed, iteration=ACTIONS + chunk, keep_visited=True
            )
            parts.append(step)
            successors.append(visited.states[visited.after[0, : len(rows)]])
        taken = Rollout.cat(parts, dim=1)
        shape = num_states, num_actions
        action, reward, terminated = (of[0, : len(copies)] for of in (taken.action, taken.reward, taken.terminated))
        actions = Actions(
            obs=states.obs,
            action=action.view(*shape, -1),
            reward=reward.view(shape),
            terminated=terminated.view(shape),
            successors=EnvStates.cat(successors),
        )
        return actions, len(initial) * (limit + len(parts))

    def returns(self, actions: Actions, num_samples: int, block: int) -> tuple[Returns, int]:
        """Samples r + gamma V(s') of each action, from re-rollouts of its successor.

        The simulator is deterministic, so all randomness of Q lies behind s'. Re-rollouts of the actions of one state
        share their action noise, which leaves each sample as it is but makes their differences more precise.

        Args:
            actions: whose Q is wanted.
            num_samples: samples of each.
            block: other numbers have other noise.

        Raises:
            UserError: if the simulator returned NaN.
        """
        num_states, num_actions = actions.reward.shape
        horizon, rows, number = self._followers(actions, num_samples)
        jobs = Jobs(
            state=rows,
            horizon=horizon[rows],
            noise=rows // num_actions * num_samples + number,
            noise_start=torch.zeros_like(rows),
            noise_sign=torch.ones(len(rows)),
            has_first_action=torch.zeros(len(rows), dtype=torch.bool),
            first_action=self.rollouts.spec.blank_actions(len(rows)),
        )
        branches, sim_steps = self.rollouts.play(
            self.actor,
            actions.successors,
            jobs,
            gamma=self.gamma,
            seed=self.seed,
            iteration=block,
            progress=lambda begun: self.progress(begun, len(jobs)),
        )
        if not branches.valid.all():
            spoiled = int((~branches.valid).sum())
            raise UserError(f"The simulator returned NaN in {spoiled} of {len(jobs)} re-rollouts; try another --seed.")
        value = torch.zeros(num_states * num_actions, num_samples)
        value[rows, number] = branches.discounted_return
        return Returns(
            actions.reward[..., None] + self.gamma * value.view(num_states, num_actions, num_samples)
        ), sim_steps

    def paths(self, actions: Actions, num_paths: int) -> tuple[Paths, int]:
        """Trajectories of the policy after each action, each with noise of its own."""
        horizon, rows, number = self._followers(actions, num_paths)
        longest, obs_dim = int(horizon.max()), actions.obs.state.shape[-1]
        reward = torch.zeros(longest, len(horizon), num_paths)
        next_obs = torch.zeros(longest, len(horizon), num_paths, obs_dim)
        length, sim_steps = torch.zeros(len(horizon), num_paths, dtype=torch.int64), 0
        for chunk, part, start in self._chunks(actions.successors[rows]):
            self.progress(int(part[0]), len(rows))
            own = horizon[rows[part]]  # [p], much the same for all, since states are in the order of elapsed time
            steps = int(own.max())
            taken, *_ = self.rollouts.collect(self.actor, start, steps, self.seed, iteration=PATHS + chunk)
            ended = taken.done[:, : len(part)].int()  # [steps, p]
            running = (ended.cumsum(0) - ended == 0) & (torch.arange(steps)[:, None] < own)  # [steps, p]
            where = rows[part], number[part]
            reward[:steps, *where] = torch.where(running, taken.reward[:, : len(part)], 0.0)
            next_obs[:steps, *where] = torch.where(running[..., None], taken.next_obs.state[:, : len(part)], 0.0)
            length[where] = running.sum(0)
            sim_steps += steps * len(start)
        shape = (*actions.reward.shape, num_paths)
        paths = Paths(
            reward=reward.view(longest, *shape),
            next_obs=Obs(state=next_obs.view(longest, *shape, obs_dim)),
            length=length.view(shape),
        )
        return paths, sim_steps

    def _followers(self, actions: Actions, copies: int) -> tuple[Tensor, Tensor, Tensor]:
        """Horizon behind each successor `[N J]`; row and number of each of the `copies` begun where that is not 0."""
        horizon = torch.where(actions.terminated.flatten(), 0, self.horizon(actions.successors))
        rows = (horizon > 0).nonzero().flatten().repeat_interleave(copies)  # [P]
        return horizon, rows, torch.arange(len(rows)) % copies

    def _spread(self, candidates: EnvStates, count: int) -> EnvStates:
        if len(candidates) < count:
            raise UserError(
                f"states is {count}, but a rollout of {self.rollouts.num_envs} envs visits {len(candidates)}; "
                "raise num_envs."
            )
        shuffled = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(self.seed))
        order = shuffled[candidates.elapsed[shuffled].argsort(stable=True)]
        return candidates[order[(torch.arange(count) + 0.5).mul(len(order) / count).long()]]

    def _chunks(self, states: EnvStates) -> Iterator[tuple[int, Tensor, EnvStates]]:
        """As many states at a time as there are environments: a number, rows of `states`, and these for `collect`.

        The last chunk is filled up with repetitions. Episodes are numbered anew, which only decides where an
        environment goes on after the one that matters here.
        """
        size = self.rollouts.num_envs
        for chunk, first in enumerate(range(0, len(states), size)):
            rows = torch.arange(first, min(first + size, len(states)))
            filled = states[rows[torch.arange(size) % len(rows)]]
            yield chunk, rows, replace(filled, episode=torch.arange(size))
