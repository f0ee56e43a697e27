"""The advantage axis: how good was this action?"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rlft.errors import require
from rlft.networks import ActionValueCritic
from rlft.types import AdvantageEstimate, Batch, Critic, Primitive, Rerollouts, Rollout, settings_of

BootstrapAtDone = Literal["truncation", "always", "never"]


@dataclass(frozen=True)
class CriticValue:
    """What a critic that an estimator trains is a value of.

    Attributes:
        gamma: discount per env step.
        reward_scale: factor on every reward.
        bootstrap_at_done: what follows an episode's last state; see `GAE`.
        expectile: of returns: above one half V is better than the policy.
        policy: whose value it is; `None` for that of the policy that collects.
    """

    gamma: float
    reward_scale: float = 1.0
    bootstrap_at_done: BootstrapAtDone = "truncation"
    expectile: float = 0.5
    policy: str | None = None


class AdvantageEstimator(ABC):
    """Turns a rollout into advantages, and says how its critic learns. Holds no weights."""

    gamma: float = 1.0  # discount per env step
    reward_scale: float = 1.0  # factor on every reward before anything else is computed
    wants_critic: bool = True  # else there is none: `NoCritic` stands in
    critic_is_diagnostic: bool = False  # it learns beside the actor and must not touch it
    labels_with_critic: bool = False  # what it measures once, in the simulator, has a part that a critic valued
    needs_visited: bool = False  # the simulator's states are kept for `Rerollouts`
    fewest_envs: int = 1  # environments that an estimate needs side by side
    not_in_labels: frozenset[str] = frozenset()  # constructor arguments that advantages do not depend on
    regressed: bool = False  # its advantages are the output of a network that was fitted to advantages
    q_minus_v: bool = False  # its advantages are a learned Q minus a learned V
    num_samples: int | None = None  # re-rollouts per state, if it plays any

    def critic_value(self) -> CriticValue:
        """What its critic is a value of: recorded in policy files, compared where a critic is loaded."""
        return CriticValue(self.gamma, self.reward_scale)

    def check(self, obs_dim: int, action_dim: int) -> None:  # noqa: B027  most estimators work with any
        """Refuses, before anything is simulated, what cannot work with these dimensions."""

    def adapt(self, critic: Critic, obs_dim: int, action_dim: int) -> Critic:
        """The critic that this estimator trains, made from the one a run starts with; the same V at first."""
        return critic

    def label_settings(self) -> Mapping[str, Primitive]:
        """What stored advantages depend on: they are used again only where these are equal."""
        return settings_of(self, self.not_in_labels)

    @abstractmethod
    def estimate(self, rollout: Rollout, critic: Critic, rerollouts: Rerollouts) -> AdvantageEstimate:
        """Advantages of every action of `rollout`. Called without gradients."""

    @abstractmethod
    def critic_loss(self, critic: Critic, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss on a minibatch, and metrics to average over the iteration."""

    def extend(self, batch: Batch, rollout: Rollout) -> Batch:
        """The rows `[T, N]` with what else `critic_loss` needs of the rollout; by default value targets are enough."""
        return batch

    def after_step(self, critic: Critic) -> None:  # noqa: B027  most estimators have no target networks
        """Called after every gradient step of the critic, without gradients."""


class ValueEstimator(AdvantageEstimator):
    """Estimators that use a state-value critic, regressed on the estimator's own value targets.

    Args:
        gamma: discount per env step.
        reward_scale: factor on every reward before anything else is computed.
        vf_coef: weight of the value loss.
        clip_vloss: penalise the larger of the plain and the clipped value error (PPO2's value clipping).
        vf_clip_coef: how far a value may move before `clip_vloss` clips it, in units of the scaled return.
    """

    not_in_labels = frozenset({"vf_coef", "clip_vloss", "vf_clip_coef"})

    def __init__(
        self,
        gamma: float = 0.8,
        reward_scale: float = 1.0,
        vf_coef: float = 0.5,
        clip_vloss: bool = False,
        vf_clip_coef: float = 0.2,
    ) -> None:
        check_share("gamma", gamma)
        check_reward_scale(reward_scale)
        for name, value in (("vf_coef", vf_coef), ("vf_clip_coef", vf_clip_coef)):
            require(0 <= value < math.inf, f"model.advantage.{name}", value, "at least 0 and finite")
        self.gamma = gamma
        self.reward_scale = reward_scale
        self.vf_coef = vf_coef
        self.clip_vloss = clip_vloss
        self.vf_clip_coef = vf_clip_coef

    def adapt(self, critic: Critic, obs_dim: int, action_dim: int) -> Critic:
        """Of a critic with action values, only V."""
        return critic.state_value() if isinstance(critic, ActionValueCritic) else critic

    def critic_loss(self, critic: Critic, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """0.5 (V - R)^2, optionally clipped as in PPO2."""
        value = critic(batch.obs)  # [B]
        error = (value - batch.value_target) ** 2
        if self.clip_vloss:
            clipped = batch.value + (value - batch.value).clamp(-self.vf_clip_coef, self.vf_clip_coef)
            error = torch.maximum(error, (clipped - batch.value_target) ** 2)
        loss = 0.5 * error.mean()
        return self.vf_coef * loss, {"losses/value_loss": loss.detach()}


def check_share(name: str, value: float) -> None:
    """Refuses what is not from 0 to 1."""
    require(0 <= value <= 1, f"model.advantage.{name}", value, "from 0 to 1")


def check_reward_scale(value: float) -> None:
    """Refuses a scale that hides rewards, or turns them round."""
    require(0 < value < math.inf, "model.advantage.reward_scale", value, "above 0 and finite")
