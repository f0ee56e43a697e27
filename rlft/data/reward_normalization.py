"""Rewards in standard deviations of the discounted return, by moments that run along with what is collected.

Source: `VecNormalize` of Stable-Baselines3 with `norm_reward`; moments are merged as by Chan, Golub & LeVeque 1979.

Deviations: moments begin with nothing, not with a made-up count of 1e-4, so that they are those of the data. Stored
rewards stay as they are, and are normalised by the moments of the moment in which a minibatch is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlft.errors import require
from rlft.types import Experience


@dataclass(frozen=True)
class Moments:
    """Of all numbers so far."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of the squared differences to the mean

    def added(self, values: Tensor) -> Moments:
        """With `values [M]` as well."""
        new, values = len(values), values.double()
        if not new:
            return self
        mean, count = float(values.mean()), self.count + new
        delta = mean - self.mean
        squares = self.squares + float((values - mean).square().sum()) + delta**2 * self.count * new / count
        return Moments(count, self.mean + delta * new / count, squares)

    @property
    def variance(self) -> float:
        """Of the numbers themselves, not of what they were drawn from."""
        return self.squares / self.count if self.count else 0.0


class RewardNormalization:
    """Divides rewards by the running standard deviation of the discounted return, in minibatches alone.

    In every environment R <- gamma R + r, which begins anew after the end of an episode; a reward r counts as
    clip(r / sqrt(Var R + epsilon), -clip, clip). The mean is not subtracted, so no reward changes its sign. Evaluations
    and logged rewards are not normalised. Returns have no known bounds then: the critics need a head for any size.

    Args:
        clip: largest normalised reward.
        epsilon: keeps from dividing by nothing. Rewards that never vary end up with next to no variance, and at `clip`.
    """

    def __init__(self, clip: float = 10.0, epsilon: float = 1e-8) -> None:
        require(0 < clip < math.inf, "data.reward_normalization.clip", clip, "above 0 and finite")
        require(0 < epsilon < math.inf, "data.reward_normalization.epsilon", epsilon, "above 0 and finite")
        self.clip, self.epsilon = clip, epsilon
        self.gamma = 0.0  # of the learner, see `begin`
        self.moments = Moments()
        self._return: Tensor | None = None  # [N] float64, of the running episodes

    def begin(self, gamma: float) -> None:
        """Forgets everything; returns are discounted with `gamma` from now on."""
        self.gamma, self.moments, self._return = gamma, Moments(), None

    def add(self, experience: Experience) -> None:
        """Takes the next steps `[T, N]` of all environments."""
        self._return = self._added(experience, self._return)

    def add_apart(self, experience: Experience) -> None:
        """Takes steps `[T, N]` that nothing follows, of environments of their own."""
        self._added(experience, None)

    def _added(self, experience: Experience, running: Tensor | None) -> Tensor:
        """Adds the returns; `[N]`, what they are after the last step."""
        done = experience.terminated | experience.truncated | ~experience.usable
        value = torch.zeros(experience.reward.shape[1], dtype=torch.float64) if running is None else running
        returns = []
        for reward, ends in zip(experience.reward.double(), done, strict=True):
            returns.append(self.gamma * value + reward)
            value = torch.where(ends, 0.0, returns[-1])
        self.moments = self.moments.added(torch.stack(returns)[experience.usable])
        return value

    @property
    def scale(self) -> float:
        """What a reward is multiplied by before it is clipped."""
        return 1 / math.sqrt(self.moments.variance + self.epsilon)

    def normalized(self, reward: Tensor) -> Tensor:
        """Rewards of any shape, as they count."""
        return (reward * self.scale).clamp(-self.clip, self.clip)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a run needs to go on to the same bits."""
        moments = {"count": self.moments.count, "mean": self.moments.mean, "squares": self.moments.squares}
        return {"moments": moments, "return": self._return}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        self.moments, self._return = Moments(**state["moments"]), state["return"]
