"""Everything that crosses a module border.

Legend of shapes: `T` steps, `N` environments, `M` states, `B` minibatch, `O` observation, `A` action, `P` bytes of
packed physics, `Q` numbers of task and controller state, `E` episodes, `J` re-rollouts, `K` actions that are predicted.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class EnvSpec:
    """What a policy needs to know about an environment."""

    task: str
    obs_dim: int
    action_dim: int
    action_low: Tensor  # [A]
    action_high: Tensor  # [A]
    max_episode_steps: int  # env steps until an episode is truncated


@dataclass(frozen=True)
class TensorRows:
    """Base of dataclasses whose fields are tensors with a common leading dimension."""

    def __len__(self) -> int:
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def __getitem__(self, rows: Tensor | slice | Sequence[int]) -> Self:
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        first: Tensor = getattr(self, dataclasses.fields(self)[0].name)
        return first.device

    @classmethod
    def cat(cls, parts: Sequence[Self], dim: int = 0) -> Self:
        """Joins parts along `dim`."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts], dim) for name in names})

    def to(self, device: torch.device | str) -> Self:
        """The same on another device; Lightning calls this for batches."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)})


@dataclass(frozen=True)
class EnvStates(TensorRows):
    """Everything the future of `M` environments depends on, besides the actions.

    A state may be restored into any scene of any worker; from there the same actions lead to the same future, bit for
    bit on the CPU.
    """

    physics: Tensor  # [M, P] uint8, the simulator's packed state
    task: Tensor  # [M, Q] float64, per-environment tensors of the task and its controllers
    obs: Tensor  # [M, O], the observation to act on: contact-derived entries are stale after a restore
    elapsed: Tensor  # [M] int64, env steps since the episode began
    episode: Tensor  # [M] int64, the number of the running episode in the bank of initial states


@dataclass(frozen=True)
class Step(TensorRows):
    """What one step of a batch of environments returned; nothing has been reset yet."""

    obs: Tensor  # [N, O], the true successor
    reward: Tensor  # [N]
    terminated: Tensor  # [N] bool, success or failure as the task defines them
    success: Tensor  # [N] bool


@dataclass(frozen=True)
class Rollout(TensorRows):
    """`T` steps of `N` environments that are reset as soon as an episode ends.

    It stores no values: whoever needs a critic evaluates it on these observations.
    """

    obs: Tensor  # [T, N, O]
    action: Tensor  # [T, N, A], the unclipped sample; the environment got it clipped to its bounds
    log_prob: Tensor  # [T, N], of the unclipped sample
    next_obs: Tensor  # [T, N, O], the true successor, never the first observation of the next episode
    reward: Tensor  # [T, N]
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool, the time limit was reached without termination
    success: Tensor  # [T, N] bool, at this step
    elapsed: Tensor  # [T, N] int64, env steps since the episode began, before the action

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
        return cls(like[:0], *torch.zeros(2, 0, 0, dtype=torch.int64))

    @classmethod
    def cat(cls, parts: Sequence[Visited]) -> Visited:
        """Joins the environments of several workers."""
        offsets = [sum(len(part.states) for part in parts[:i]) for i in range(len(parts))]
        before = torch.cat([part.before + offset for part, offset in zip(parts, offsets, strict=True)], 1)
        after = torch.cat([part.after + offset for part, offset in zip(parts, offsets, strict=True)], 1)
        return cls(EnvStates.cat([part.states for part in parts]), before, after)


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
    first_action: Tensor  # [J, A], unclipped; NaN lets the policy choose


@dataclass(frozen=True)
class Branches(TensorRows):
    """What came of re-rollouts."""

    discounted_return: Tensor  # [J], up to the end of the branch
    steps: Tensor  # [J] int64, env steps simulated
    terminated: Tensor  # [J] bool, whether the branch ended itself rather than being cut off
    end_obs: Tensor  # [J, O], the last observation
    valid: Tensor  # [J] bool, False if the simulator returned NaN or infinity


@dataclass(frozen=True)
class AdvantageEstimate:
    """How good each action of a rollout was."""

    advantage: Tensor  # [T, N], raw: not normalised
    value: Tensor  # [T, N], the critic's value when the estimate was made
    value_target: Tensor  # [T, N]
    mask: Tensor  # [T, N] bool, False where no estimate could be made
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Transition(TensorRows):
    """Where actions led, one or several steps ahead: a temporal-difference target is reward + discount V(next_obs)."""

    reward: Tensor  # [...], discounted sum of the rewards on the way
    next_obs: Tensor  # [..., O], the true successor
    discount: Tensor  # [...], gamma^steps, 0 if the episode terminated on the way


@dataclass(frozen=True)
class Batch(TensorRows):
    """The transitions of one gradient step, `[B]`, or of a rollout, `[T, N]`."""

    obs: Tensor  # [B, O]
    action: Tensor  # [B, A], unclipped
    log_prob: Tensor  # [B], under the policy that acted
    signal: Tensor  # [B], what the policy update made of the advantages
    value: Tensor  # [B], the critic's value before this iteration's updates
    value_target: Tensor  # [B]
    transition: Transition  # [B]; without `next_obs` [B, 0] if the estimator does not ask for it


@dataclass(frozen=True)
class CloningBatch(TensorRows):
    """What was demonstrated, `[B]` steps for a gradient step, or `[T, N]` of a rollout."""

    obs: Tensor  # [B, O]
    action: Tensor  # [B, K, A], unclipped, at `K` offsets from the step; of no meaning where it is not known
    known: Tensor  # [B, K] bool, whether the episode and the data reach that far


@dataclass(frozen=True)
class EpisodeResults(TensorRows):
    """`E` evaluation episodes, each played to the time limit whatever happens on the way."""

    success_once: Tensor  # [E] bool, at any step
    success_at_end: Tensor  # [E] bool, at the last step of the time limit
    episode_return: Tensor  # [E], undiscounted reward up to the first termination
    length: Tensor  # [E] int64, env steps up to the first termination, or the time limit


class Actor(nn.Module):
    """A stochastic policy with independent Gaussian action dimensions."""

    log_std: nn.Parameter  # [A]

    def forward(self, obs: Tensor) -> Tensor:
        """The mean action `[..., A]` of observations `[..., O]`."""
        raise NotImplementedError


class Critic(nn.Module):
    """A state-value function."""

    def forward(self, obs: Tensor) -> Tensor:
        """Values `[...]` of observations `[..., O]`."""
        raise NotImplementedError


class BatchEnv(Protocol):
    """N environments stepped together, without automatic reset."""

    spec: EnvSpec
    num_envs: int

    def step(self, action: Tensor) -> Step:
        """Steps the active environments with `action [N, A]`, already clipped."""
        ...

    def save(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Physics `[M, P]` and task state `[M, Q]` of these environments."""
        ...

    def restore(self, rows: Sequence[int], states: EnvStates) -> None:
        """Puts environment `rows[i]` into `states[i]`."""
        ...

    def activate(self, rows: Sequence[int]) -> int:
        """From now on only these environments need to be simulated; returns how many each step simulates."""
        ...

    def initial_states(self, seed: int) -> EnvStates:
        """The states of all `num_envs` environments after a reset with `seed`."""
        ...


class Rerollouts(Protocol):
    """The simulator during an iteration, for estimators that go back to the states of the rollout."""

    spec: EnvSpec
    visited: Visited  # without states unless the estimator asked for them with `needs_visited`
    actor: Actor  # the policy that collected the rollout
    sim_steps: int  # env steps simulated by `play` so far

    def play(self, actor: Actor, jobs: Jobs, gamma: float) -> Branches:
        """Plays `jobs` with `actor`; a job's rewards are discounted from its own start."""
        ...


class EnvFactory(ABC):
    """Configuration of an environment: small, picklable, sent to every worker."""

    @abstractmethod
    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` environments.

        Raises:
            UserError: if this machine or this package cannot run the task as configured.
        """

    def starts(self) -> str:
        """All that initial states depend on but their seed: equal texts mean equal states for equal seeds."""
        return repr(self)


class Rollouts(Protocol):
    """Environments of this run, wherever they live: in this process, in workers, on other machines."""

    spec: EnvSpec
    num_envs: int

    @property
    def workers_replaced(self) -> int:
        """Workers that died, failed or hung so far, and whose work others have done again."""
        ...

    def initial_states(self, seed: int) -> EnvStates:
        """The first episode of every environment, `[N]`, from the training bank of `seed`."""
        ...

    def collect(
        self, actor: Actor, states: EnvStates, num_steps: int, seed: int, iteration: int, *, keep_visited: bool = False
    ) -> tuple[Rollout, EnvStates, Visited]:
        """Acts for `num_steps` from `states [N]`.

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
            actor: the policy that acts; samples its Gaussian.
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

    def evaluate(self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool) -> EpisodeResults:
        """Plays episodes `0 .. num_episodes - 1` of the evaluation bank of `seed`, one per initial state."""
        ...

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        ...
