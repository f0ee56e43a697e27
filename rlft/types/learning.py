"""What is learned from: advantages, rows, and the contract between who learns and who has the data.

A data module gives a learner what has been collected, and the learner makes rows of it, in one call:
`Learner.to_rows`. What a learner needs to know of the data, it reads from its `DataSource`. Neither writes into the
other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlft.types.actor_critic import Actor
from rlft.types.environment import EnvFactory
from rlft.types.observation import Obs
from rlft.types.rows import TensorRows
from rlft.types.settings import Primitive
from rlft.types.simulation import Rerollouts, Rollout, Rollouts, Visited
from rlft.types.starts import StartMixture


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
    next_obs: Obs  # [...], the true successor
    discount: Tensor  # [...], gamma^steps, 0 if nothing follows: as a rule, if the episode terminated on the way


@dataclass(frozen=True)
class Batch(TensorRows):
    """The transitions of one gradient step, `[B]`, or of a rollout, `[T, N]`."""

    obs: Obs  # [B]
    action: Tensor  # [B, A], unclipped
    log_prob: Tensor  # [B], under the policy that acted; 0 where it is not known, for updates that do not need it
    signal: Tensor  # [B], what the policy update made of the advantages
    value: Tensor  # [B], the critic's value before this iteration's updates
    value_target: Tensor  # [B]


@dataclass(frozen=True)
class BootstrappedBatch(Batch):
    """The same for critics that learn from where actions led."""

    transition: Transition  # [B]


@dataclass(frozen=True)
class Experience(TensorRows):
    """What a replay buffer keeps of a rollout, `[T, N]`."""

    obs: Obs  # [T, N]
    action: Tensor  # [T, N, A], within the bounds of the environment
    reward: Tensor  # [T, N]
    next_obs: Obs  # [T, N], the true successor
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool
    usable: Tensor  # [T, N] bool, False for steps with bad numbers: nothing is learned of them, or across them


@dataclass(frozen=True)
class ReplayBatch(TensorRows):
    """Transitions of a replay buffer, `[B]`."""

    obs: Obs  # [B]
    action: Tensor  # [B, A], within the bounds of the environment
    transition: Transition  # [B], one or several steps on


@dataclass(frozen=True)
class CalibratedBatch(ReplayBatch):
    """The same with what came of the episodes, for critics that are not to say less of the policy."""

    returned: Tensor  # [B], the discounted return from there to the end of the episode; -inf where that is not known


@dataclass(frozen=True)
class ReturnBatch(TensorRows):
    """Actions of episodes that have ended, and what came of them, `[B]`."""

    obs: Obs  # [B]
    action: Tensor  # [B, A], within the bounds of the environment
    value_target: Tensor  # [B], the discounted return from there to the end of the episode


@dataclass(frozen=True)
class CloningBatch(TensorRows):
    """What was demonstrated, `[B]` steps for a gradient step, or `[T, N]` of a rollout."""

    obs: Obs  # [B]
    action: Tensor  # [B, K, A], unclipped, at `K` offsets from the step; of no meaning where it is not known
    known: Tensor  # [B, K] bool, whether the episode and the data reach that far


@dataclass(frozen=True)
class Observed(TensorRows):
    """What was seen, `[B]` or `[T, N]`, for learners that need nothing else."""

    obs: Obs


@dataclass(frozen=True)
class LearningRows:
    """What a learner makes of a rollout."""

    rows: TensorRows  # [T, N], such as `Batch` or `CloningBatch`
    mask: Tensor  # [T, N] bool, False where nothing is to be learned
    labels: AdvantageEstimate | None  # what was measured for it; `None` for a learner that needs only the rollout


class Learner(ABC):
    """What a data module needs of the module that it feeds."""

    shareable: bool = False  # several learners can do its work together: see `rlft.learners`
    actor: Actor  # the policy that learns
    notes: list[str]  # what the report says of the start: a sentence or two each

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it learns: rollouts are moved there before rows are made of them."""

    @property
    @abstractmethod
    def collector(self) -> Actor:
        """The policy that acts in rollouts."""

    @property
    @abstractmethod
    def needs_visited(self) -> bool:
        """Whether `to_rows` goes back to the simulator states of a rollout."""

    @property
    def needs_rewards(self) -> bool:
        """Whether it learns from rewards, so that data have to have the right ones."""
        return True

    @property
    @abstractmethod
    def fewest_envs(self) -> int:
        """Environments that it needs side by side."""

    @property
    @abstractmethod
    def relabels(self) -> bool:
        """Whether labels of the same rollout change as it learns, so that every iteration makes its rows anew."""

    @abstractmethod
    def to_rows(
        self, rollout: Rollout, rerollouts: Rerollouts, labels: AdvantageEstimate | None = None
    ) -> LearningRows:
        """The rows that a rollout teaches.

        Args:
            rollout: on the learner's device.
            rerollouts: the simulator, with the states of the rollout if `needs_visited`.
            labels: what was measured for the same rollout before; they are used again unless it `relabels`.

        Raises:
            UserError: if the rollout cannot be learned from.
        """

    @abstractmethod
    def data_settings(self) -> Mapping[str, Primitive]:
        """What a stored rollout and its labels depend on, besides the environment.

        `policy` is who acts; the settings of an estimator begin with `advantage.`, of which `advantage.class` is its
        name. A learner without labels has none of these.
        """

    @abstractmethod
    def add_metrics(self, metrics: Mapping[str, float]) -> None:
        """Takes numbers to log with the running iteration."""


OnRewardChange = Literal["refuse", "recompute", "reset"]  # what becomes of experience that has another reward
ReplayBootstrap = Literal["truncation", "always"]  # nothing follows a termination, or as much as a truncation
Warmup = Literal["returns", "collect"]  # the returns of the episodes that have ended, or nothing


class ReplayLearner(Learner):
    """A learner whose rows are `Experience`, of which a replay buffer keeps those of all iterations."""

    gamma: float  # discount per env step
    n_step: int  # env steps whose rewards a transition has
    horizon: int = 0  # env steps that a transition looks ahead at most, drawn from 1 to this; 0 has no such bound
    bootstrap_at_done: ReplayBootstrap = "truncation"  # which ends of an episode have something that follows
    warmup: Warmup  # what an iteration that warms up learns, once it has collected everything

    @property
    def needs_returns(self) -> bool:
        """Whether minibatches are to be `CalibratedBatch`."""
        return False

    @abstractmethod
    def warms_up(self, iteration: int) -> bool:
        """Whether the policy only collects in this iteration, from 0, of those that collect."""

    @abstractmethod
    def begin(self, experience: Experience) -> None:
        """Looks at what has been collected before the first update of a run."""

    @abstractmethod
    def noise_scale(self, num_envs: int) -> Tensor | None:
        """What multiplies the collector's noise in each environment now, `[N]`; `None` leaves it as it is."""


@dataclass(frozen=True)
class Steps:
    """What a run has cost so far, in env steps."""

    env: int = 0  # collected
    sim: int = 0  # simulated: collected and re-rollouts, not evaluation


class DataSource:
    """What a learner and its callbacks know of the data; every data module is one."""

    shareable: bool = False  # several learners can each have a part of it
    fixed: bool = False  # every iteration has the same data
    held_out: TensorRows | None = None  # [M], rows that never train
    steps: Steps = Steps()

    @property
    def privileged_dim(self) -> int:
        """Numbers per observation that only a demonstrator may see."""
        return 0

    def resume(self, steps: Steps) -> None:
        """Goes on counting where the run of a checkpoint was."""
        self.steps = steps


class ReplaySource:
    """What a `ReplayLearner` knows of its data beside that."""

    recent: ReturnBatch | None = None  # of the steps of the running iteration whose episodes ended in it
    offline_iterations: int = 0  # at the start, in which nothing is simulated
    her: float = 0.0  # share of a minibatch's transitions with goals that were reached instead
    passes_success: bool = False  # whether an episode that is learned from has gone on after a success
    normalizes_rewards: bool = False  # so that returns can have any size
    reward_scale: float = 1.0  # factor on the rewards in minibatches
    on_reward_change: OnRewardChange = "refuse"  # of a run that goes on from a checkpoint


class EnvSource(DataSource, ABC):
    """A source that simulates, and lets callbacks simulate."""

    env: EnvFactory
    num_envs: int  # environments stepped in parallel
    update_epochs: int  # passes over the data of an iteration
    rollout: Rollout | None  # the running iteration's, for whoever looks at it
    starts: StartMixture | None = None  # where new episodes of rollouts begin; a callback may say so
    on_rerollouts: Callable[[int, int], None]  # told how many re-rollouts of how many have begun

    @property
    @abstractmethod
    def rollouts(self) -> Rollouts:
        """The environments; started on first use."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Env steps per iteration."""

    @property
    @abstractmethod
    def reward_mode(self) -> str | None:
        """Which reward the environment gives; `None` if it knows only one."""

    @property
    @abstractmethod
    def data_policy(self) -> str | None:
        """Whose data this is; `None` for that of the module's own policy."""

    @abstractmethod
    def rerollouts_from(self, visited: Visited, actor: Actor, seed: int, iteration: int) -> Rerollouts:
        """The simulator, with the states of a rollout of `actor`."""
