"""What policies do in environments: rollouts, re-rollouts, evaluation episodes, and whoever plays them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rlft.types.actor_critic import Actor
from rlft.types.environment import EnvSpec, EnvStates
from rlft.types.observation import Obs
from rlft.types.rows import NOTHING, TensorRows, filled
from rlft.types.starts import StartMixture


@dataclass(frozen=True)
class Rollout(TensorRows):
    """`T` steps of `N` environments that are reset as soon as an episode ends.

    It stores no values: whoever needs a critic evaluates it on these observations.
    """

    obs: Obs  # [T, N]
    action: Tensor  # [T, N, A], the unclipped sample; the environment got it clipped to its bounds
    log_prob: Tensor  # [T, N], of the unclipped sample; 0 where it is not known
    log_prob_known: Tensor  # [T, N] bool
    next_obs: Obs  # [T, N], the true successor, never the first observation of the next episode
    reward: Tensor  # [T, N]
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool, the time limit was reached without termination
    success: Tensor  # [T, N] bool, at this step
    elapsed: Tensor  # [T, N] int64, env steps since the episode began, before the action
    info: Tensor = NOTHING  # [T, N, I], of each step, see `EnvSpec.info`; I = 0 for most tasks, and read from files

    def __post_init__(self) -> None:
        filled(self, "info", self.reward)

    @property
    def done(self) -> Tensor:
        """[T, N] bool: the episode ended with this step, for either reason."""
        return self.terminated | self.truncated


@dataclass(frozen=True)
class Visited:
    """The states a rollout went through, each once, so that the simulator can go back to them."""

    states: EnvStates  # [M]
    before: Tensor  # [T, N] int64, which state the action was taken in
    after: Tensor  # [T, N] int64, which state it led to: the true successor, also where the episode ended

    @classmethod
    def nothing(cls, like: EnvStates) -> Visited:
        """No states, of the same kind as `like`."""
        steps = torch.zeros(0, 0, dtype=torch.int64)
        return cls(states=like[:0], before=steps, after=steps)

    @classmethod
    def cat(cls, parts: Sequence[Visited]) -> Visited:
        """Joins the environments of several workers."""
        offsets = [sum(len(part.states) for part in parts[:i]) for i in range(len(parts))]
        before = torch.cat([part.before + offset for part, offset in zip(parts, offsets, strict=True)], 1)
        after = torch.cat([part.after + offset for part, offset in zip(parts, offsets, strict=True)], 1)
        return cls(states=EnvStates.cat([part.states for part in parts]), before=before, after=after)


@dataclass(frozen=True)
class Jobs(TensorRows):
    """Re-rollouts to play: where each begins and what it depends on besides the policy.

    Noise is addressed, so a result depends neither on the worker that plays the job nor on what else is played.
    """

    state: Tensor  # [J] int64, row of the state to begin in
    horizon: Tensor  # [J] int64, env steps after which the re-rollout is cut off: from 1 to the time limit
    noise: Tensor  # [J] int64, address of the action noise within the iteration
    noise_start: Tensor  # [J] int64, first row of that noise
    noise_sign: Tensor  # [J], 1 or -1: antithetic partners share an address
    has_first_action: Tensor  # [J] bool, else the policy chooses it
    first_action: Tensor  # [J, A], unclipped; of no meaning where there is none


@dataclass(frozen=True)
class Branches(TensorRows):
    """What came of re-rollouts."""

    discounted_return: Tensor  # [J], up to the end of the branch
    steps: Tensor  # [J] int64, env steps simulated
    terminated: Tensor  # [J] bool, whether the branch ended itself rather than being cut off
    end_obs: Obs  # [J], the last observation
    valid: Tensor  # [J] bool, False if the simulator returned NaN or infinity


@dataclass(frozen=True)
class EpisodeResults(TensorRows):
    """`E` evaluation episodes, each played to the time limit whatever happens on the way."""

    success_once: Tensor  # [E] bool, at any step
    success_at_end: Tensor  # [E] bool, at the last step of the time limit
    episode_return: Tensor  # [E], undiscounted reward up to the first termination
    length: Tensor  # [E] int64, env steps up to the first termination, or the time limit
    behaviour: Tensor = NOTHING  # [E, B], the measures of `EnvSpec.behaviour`, up to there; B = 0 for most tasks

    def __post_init__(self) -> None:
        filled(self, "behaviour", self.episode_return)


@dataclass(frozen=True)
class RecordedEpisodes(TensorRows):
    """`E` evaluation episodes of `T` steps, the time limit, with every state on the way."""

    results: EpisodeResults  # [E]
    states: EnvStates  # [E, T + 1]
    success: Tensor  # [E, T] bool, at each step


class Rerollouts(Protocol):
    """The simulator during an iteration, for estimators that go back to the states of the rollout."""

    spec: EnvSpec
    visited: Visited  # without states unless the estimator asked for them with `needs_visited`
    actor: Actor  # the policy that collected the rollout
    sim_steps: int  # env steps simulated by `play` so far

    def play(self, actor: Actor, jobs: Jobs, gamma: float) -> Branches:
        """Plays `jobs` with `actor`; a job's rewards are discounted from its own start."""
        ...


class Rollouts(Protocol):
    """Environments of this run, wherever they live: in this process, in workers, on other machines."""

    spec: EnvSpec
    num_envs: int

    @property
    def workers_replaced(self) -> int:
        """Workers that died, failed or hung so far, and whose work others have done again."""
        ...

    def initial_states(self, seed: int, starts: StartMixture | None = None) -> EnvStates:
        """The first episode of every environment, `[N]`, from the training bank of `seed`."""
        ...

    def collect(
        self,
        actor: Actor,
        states: EnvStates,
        num_steps: int,
        seed: int,
        iteration: int,
        *,
        keep_visited: bool = False,
        noise_scale: Tensor | None = None,
        starts: StartMixture | None = None,
    ) -> tuple[Rollout, EnvStates, Visited]:
        """Acts for `num_steps` from `states [N]`; `noise_scale [N]` multiplies the noise of each environment.

        `starts` says in which stages new episodes begin; `None` has all of them begin as the task has it.

        Returns what happened, where the environments are now, and the states on the way if those are to be kept.
        """
        ...

    def play(
        self,
        actor: Actor,
        states: EnvStates,
        jobs: Jobs,
        *,
        gamma: float,
        seed: int,
        iteration: int,
        progress: Callable[[int], None],
    ) -> tuple[Branches, int]:
        """Plays re-rollouts from `states [M]`, as many at a time as there are environments.

        Args:
            actor: the policy that acts; it explores.
            states: where re-rollouts may begin.
            jobs: the re-rollouts.
            gamma: discount per env step.
            seed: the run's seed: addresses the noise.
            iteration: addresses the noise.
            progress: told now and then how many jobs have been begun.

        Returns:
            What came of the jobs, in their order, and how many env steps were simulated for it in all.
        """
        ...

    def evaluate(
        self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool, first: int = 0
    ) -> EpisodeResults:
        """Plays `num_episodes` of the evaluation bank of `seed` from number `first` on, one per initial state."""
        ...

    def record(self, actor: Actor, episodes: Sequence[int], *, seed: int, deterministic: bool) -> RecordedEpisodes:
        """Plays these episodes of the evaluation bank of `seed` as `evaluate` does, and keeps their states."""
        ...

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        ...
