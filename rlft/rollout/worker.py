"""The worker: owns environments and acts in them with a copy of the policy.

The same class runs in this process, in a worker process and anywhere else. It is a function of what it is told: the
policy, the states to start from and the address of the noise. It keeps nothing between calls but its environments and
its bank of initial states, so any worker can do any part of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlft.envs.initial_states import EVALUATION, REROLLOUT, TRAINING, InitialStates
from rlft.rollout.job_table import JobTable
from rlft.rollout.noise import standard_normal
from rlft.rollout.recorder import Recorder
from rlft.rollout.summing_up import SummingUp
from rlft.types import (
    Acted,
    Actor,
    Branches,
    EnvFactory,
    EnvSpec,
    EnvStates,
    EpisodeResults,
    Jobs,
    Obs,
    RecordedEpisodes,
    Rollout,
    StartMixture,
    Step,
    Visited,
)

CHUNK = {"cpu": 32, "cuda": 4096}  # decisions per call of the policy; see `decide`


class RolloutWorker:
    """Some environments, in which any of those of a run can be played.

    Args:
        factory: how to build the environments.
        scenes: how many.
    """

    def __init__(self, factory: EnvFactory, scenes: int) -> None:
        self.env = factory.make(scenes)
        self.bank = InitialStates(factory)

    def spec(self) -> EnvSpec:
        """What the environments are like."""
        return self.env.spec

    def initial_states(self, env_ids: Sequence[int], seed: int, starts: StartMixture | None = None) -> EnvStates:
        """The first training episodes of these environments of the run."""
        return self.bank.get(TRAINING, seed, env_ids, starts)

    @torch.no_grad()
    def collect(
        self,
        actor: Actor,
        env_ids: Sequence[int],
        states: EnvStates,
        num_steps: int,
        seed: int,
        iteration: int,
        num_envs: int,
        *,
        keep_visited: bool = False,
        noise_scale: Tensor | None = None,
        starts: StartMixture | None = None,
    ) -> tuple[Rollout, EnvStates, Visited]:
        """Acts for `num_steps` from `states`, resetting episodes that end.

        Restoring before acting also drops the simulator's contact caches, so a rollout is a function of its start
        states alone and a resumed run continues bit for bit.

        Args:
            actor: the policy; it explores.
            env_ids: which of the run's environments these are, e.g. `range(50, 100)`; no more than there are here.
            states: where they are, `[N]`.
            num_steps: env steps per environment.
            seed: the run's seed: addresses the noise and the bank of episodes.
            iteration: addresses the noise.
            num_envs: environments in the whole run; an environment's next episode is this many numbers further.
            keep_visited: also return every state on the way.
            noise_scale: multiplies the noise of each environment, `[N]`.
            starts: in which stages new episodes begin.
        """
        rows = range(len(env_ids))
        spec = self.env.spec
        noise = torch.stack(
            [standard_normal([TRAINING, seed, iteration, i], num_steps, actor.noise_dim) for i in env_ids], 1
        )  # [T, N, Z]
        if noise_scale is not None:
            noise *= noise_scale[:, None]
        self.env.activate(rows)
        self.env.restore(rows, states)
        obs, elapsed, episode = states.obs.map(torch.clone), states.elapsed.clone(), states.episode.clone()
        steps: list[Rollout] = []  # [N] each
        visited = Recorder(states) if keep_visited else None
        for t in range(num_steps):
            acted = decide(actor, obs, noise[t])  # [N]
            action = spec.blank_actions(self.env.num_envs)
            action[: len(rows)] = acted.action.clamp(spec.action_low, spec.action_high)
            step = self.env.step(action)[: len(rows)]
            steps.append(_recorded(obs, acted, step, elapsed, spec.max_episode_steps))
            obs, elapsed = step.obs, elapsed + 1
            if visited:
                visited.stepped(self._states(obs, elapsed.clone(), episode.clone()))
            done = steps[-1].done.nonzero().flatten().tolist()
            if done:
                episode[done] += num_envs
                fresh = self.bank.get(TRAINING, seed, episode[done].tolist(), starts)
                self.env.restore(done, fresh)
                obs = obs.map(torch.clone)
                obs[done], elapsed[done] = fresh.obs, 0
                if visited:
                    visited.reset(done, fresh)
        ends = self._states(obs, elapsed, episode)
        return Rollout.stack(steps), ends, visited.result() if visited else Visited.nothing(states)

    def _states(self, obs: Obs, elapsed: Tensor, episode: Tensor) -> EnvStates:
        """Where the first environments are, one for each row of `obs`."""
        physics, task = self.env.save(range(len(elapsed)))
        return EnvStates(physics=physics, task=task, obs=obs, elapsed=elapsed, episode=episode)

    @torch.no_grad()
    def play(
        self,
        actor: Actor,
        states: EnvStates,
        jobs: Jobs,
        take: Callable[[int], Sequence[int]],
        *,
        gamma: float,
        seed: int,
        iteration: int,
    ) -> tuple[Tensor, Branches, int]:
        """Plays re-rollouts until there are none left to take.

        An environment that finishes a job takes the next one at once. What a job returns depends on its own row of
        `jobs` alone.

        Args:
            actor: the policy that acts; it explores.
            states: where jobs may begin, `[M]`.
            jobs: all re-rollouts, `[J]`, of which this worker plays some.
            take: takes up to so many jobs off the queue; fewer, or none, once it is empty.
            gamma: discount per env step.
            seed: addresses the noise.
            iteration: addresses the noise.

        Returns:
            Rows of `jobs` that were played here `[j]`, what came of them `[j]`, and env steps simulated.
        """
        table = JobTable(self.env, jobs, (REROLLOUT, seed, iteration), actor.noise_dim)
        simulated, queue_empty = 0, False
        while True:
            idle = [] if queue_empty else table.idle()
            taken = take(len(idle)) if idle else []
            queue_empty = queue_empty or len(taken) < len(idle)
            if taken:
                table.begin(idle[: len(taken)], taken, states)
            busy = table.busy()  # [b]
            if not len(busy):
                return *table.results(), simulated
            simulated += self.env.activate(busy.tolist())
            acted = decide(actor, table.obs[busy], table.noise_of(busy))  # [b]
            action = table.actions(busy, acted.action).clamp(self.env.spec.action_low, self.env.spec.action_high)
            table.stepped(busy, self.env.step(action)[busy], gamma)

    @torch.no_grad()
    def evaluate(self, actor: Actor, episodes: Sequence[int], *, seed: int, deterministic: bool) -> EpisodeResults:
        """Plays these episodes of the evaluation bank of `seed`, each once and to the time limit."""
        return EpisodeResults.cat(
            [self._play(actor, wave, seed, deterministic=deterministic) for wave in self._waves(episodes)]
        )

    @torch.no_grad()
    def record(self, actor: Actor, episodes: Sequence[int], *, seed: int, deterministic: bool) -> RecordedEpisodes:
        """Plays these episodes as `evaluate` does, and keeps every state on the way."""
        return RecordedEpisodes.cat(
            [self._record(actor, wave, seed, deterministic=deterministic) for wave in self._waves(episodes)]
        )

    def _waves(self, episodes: Sequence[int]) -> list[Sequence[int]]:
        """As many at a time as there are environments."""
        size = self.env.num_envs
        return [episodes[i : i + size] for i in range(0, len(episodes), size)]

    def _record(self, actor: Actor, episodes: Sequence[int], seed: int, *, deterministic: bool) -> RecordedEpisodes:
        states = [self.bank.get(EVALUATION, seed, episodes)]  # [M] each
        success: list[Tensor] = []  # [M] each

        def keep(step: Step) -> None:
            physics, task = self.env.save(range(len(episodes)))
            before = states[-1]
            states.append(EnvStates(physics, task, step.obs, before.elapsed + 1, before.episode))
            success.append(step.success)

        results = self._play(actor, episodes, seed, deterministic=deterministic, watch=keep)
        return RecordedEpisodes(results, EnvStates.stack(states, 1), torch.stack(success, 1))

    def _play(
        self,
        actor: Actor,
        episodes: Sequence[int],
        seed: int,
        *,
        deterministic: bool,
        watch: Callable[[Step], None] = lambda _: None,
    ) -> EpisodeResults:
        """One episode in each of the first `len(episodes)` environments; `watch` sees every step of these."""
        spec = self.env.spec
        horizon, count = spec.max_episode_steps, len(episodes)
        noise = torch.stack(
            [standard_normal([EVALUATION, seed, e], horizon, actor.noise_dim) for e in episodes], 1
        )  # [T, M, Z]
        states = self.bank.get(EVALUATION, seed, episodes)
        self.env.activate(range(count))
        self.env.restore(range(count), states)
        obs = states.obs
        action = spec.blank_actions(self.env.num_envs)
        running = torch.ones(count, dtype=torch.bool)
        success = once = torch.zeros(count, dtype=torch.bool)
        total, length = torch.zeros(count), torch.zeros(count, dtype=torch.int64)
        behaviour = SummingUp(spec, count)
        for t in range(horizon):
            acted = decide(actor, obs, noise[t], explore=not deterministic)  # [M]
            action[:count] = acted.action.clamp(spec.action_low, spec.action_high)
            step = self.env.step(action)[:count]
            watch(step)
            obs, success = step.obs, step.success
            total += step.reward * running
            length += running
            behaviour.add(step.info, running)
            once = once | success
            running = running & ~step.terminated
        return EpisodeResults(
            success_once=once,
            success_at_end=success,
            episode_return=total,
            length=length,
            behaviour=behaviour.result(length),
        )


def _recorded(obs: Obs, acted: Acted, step: Step, elapsed: Tensor, limit: int) -> Rollout:
    """One step of `N` environments, whose episodes are truncated after `limit` env steps."""
    return Rollout(
        obs=obs.learnable(),
        action=acted.action,
        log_prob=acted.joint_log_prob,
        log_prob_known=acted.log_prob_known,
        next_obs=step.obs.learnable(),
        reward=step.reward,
        terminated=step.terminated,
        truncated=~step.terminated & (elapsed + 1 >= limit),
        success=step.success,
        elapsed=elapsed,
        info=step.info,
    )


def decide(actor: Actor, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
    """`actor.act` in calls of a fixed size: of `obs [M]` and `noise [M, Z]`, on the CPU like what it returns.

    A matrix product rounds differently for different numbers of rows. With every call the same size, the result of a
    row no longer depends on how environments are split over workers. A GPU takes as long for many rows as for few.
    """
    device = actor.device
    chunk = CHUNK.get(device.type, CHUNK["cpu"])
    padding = -len(obs) % chunk

    def padded(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(padding, *x.shape[1:])]).to(device)

    obs, noise = obs.map(padded), padded(noise)
    chunks = [slice(first, first + chunk) for first in range(0, len(obs), chunk)]
    return Acted.cat([actor.act(obs[c], noise[c], explore=explore) for c in chunks])[: len(obs) - padding].to("cpu")
