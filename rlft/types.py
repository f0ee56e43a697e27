"""Everything that crosses a module border.

Legend of shapes: `T` steps, `N` environments, `M` states, `B` minibatch, `O` observation, `A` action, `P` bytes of
packed physics, `Q` numbers of task and controller state, `E` episodes.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
class AdvantageEstimate:
    """How good each action of a rollout was."""

    advantage: Tensor  # [T, N], raw: not normalised
    value: Tensor  # [T, N], the critic's value when the estimate was made
    value_target: Tensor  # [T, N]
    mask: Tensor  # [T, N] bool, False where no estimate could be made
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Batch(TensorRows):
    """The transitions of one gradient step."""

    obs: Tensor  # [B, O]
    action: Tensor  # [B, A], unclipped
    log_prob: Tensor  # [B], under the policy that acted
    signal: Tensor  # [B], what the policy update made of the advantages
    value: Tensor  # [B], the critic's value before this iteration's updates
    value_target: Tensor  # [B]


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

    def activate(self, count: int) -> None:
        """From now on only the first `count` environments are simulated."""
        ...

    def initial_states(self, seed: int) -> EnvStates:
        """The states of all `num_envs` environments after a reset with `seed`."""
        ...


class EnvFactory(ABC):
    """Configuration of an environment: small, picklable, sent to every worker."""

    @abstractmethod
    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` environments.

        Raises:
            UserError: if this machine or this package cannot run the task as configured.
        """


class Rollouts(Protocol):
    """Environments of this run, wherever they live: in this process, in workers, on other machines."""

    spec: EnvSpec
    num_envs: int

    def initial_states(self, seed: int) -> EnvStates:
        """The first episode of every environment, `[N]`, from the training bank of `seed`."""
        ...

    def collect(
        self, actor: Actor, states: EnvStates, num_steps: int, seed: int, iteration: int
    ) -> tuple[Rollout, EnvStates]:
        """Acts for `num_steps` from `states [N]`; returns what happened and where the environments are now."""
        ...

    def evaluate(self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool) -> EpisodeResults:
        """Plays episodes `0 .. num_episodes - 1` of the evaluation bank of `seed`, one per initial state."""
        ...

    def close(self) -> None:
        """Ends the workers. Idempotent."""
        ...
