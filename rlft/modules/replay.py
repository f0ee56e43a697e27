"""What learners from a replay buffer share: their rows, their warm-up, how far their values are off."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from rlft.errors import UserError, require
from rlft.modules.iteration import IterationModule
from rlft.modules.source import environments_of
from rlft.statistics.fit import correlation
from rlft.types import (
    AdvantageEstimate,
    EnvSource,
    Experience,
    LearningRows,
    Obs,
    ReplayLearner,
    ReplaySource,
    Rerollouts,
    Rollout,
)


class ReplayModule(IterationModule, ReplayLearner):
    """Learns action values from everything that has been collected."""

    needs_visited = False
    fewest_envs = 1
    relabels = False

    @abstractmethod
    def mean_value(self, obs: Obs, action: Tensor) -> Tensor:
        """What it says of actions `[B, A]` at observations `[B]`: returns `[B]`, as the data count them."""

    @property
    def trains_actor(self) -> bool:
        """The policy changes."""
        return True

    def setup(self, stage: str) -> None:
        """Refuses data without a replay buffer."""
        super().setup(stage)
        source = self.source
        if not (isinstance(source, ReplaySource) and isinstance(source, EnvSource)):
            raise UserError(
                f"model {type(self).__name__} needs data ReplayDataModule; {type(source).__name__} replays nothing."
            )

    @property
    def x_axis(self) -> int:
        """Env steps; before there are any, iterations that are still offline after this one, below 0."""
        left = self.source.offline_iterations - self.iteration if isinstance(self.source, ReplaySource) else 0
        return self.env_steps - max(0, left)

    def warms_up(self, iteration: int) -> bool:
        """In the first iterations that collect."""
        return iteration < self.warmup_iterations

    def to_rows(
        self, rollout: Rollout, rerollouts: Rerollouts, labels: AdvantageEstimate | None = None
    ) -> LearningRows:
        """Every step, with the action that the environment got."""
        spec = environments_of(self.trainer, type(self).__name__).rollouts.spec  # prior data come before `setup`
        usable = self.usable(rollout) & rollout.next_obs.state.isfinite().all(-1)  # targets ask for the next ones
        rows = Experience(
            obs=rollout.obs,
            action=rollout.action.clamp(spec.action_low.to(self.device), spec.action_high.to(self.device)),
            reward=rollout.reward,
            next_obs=rollout.next_obs,
            terminated=rollout.terminated,
            truncated=rollout.truncated,
            usable=usable,
        )
        return LearningRows(rows, usable, None)

    @torch.no_grad()
    def _validate_held_out(self) -> None:
        """How far values are off for the episodes of this iteration, whose returns are known by now."""
        recent = self.source.recent if isinstance(self.source, ReplaySource) else None
        if recent is None or not len(recent):
            return
        recent = recent.to(self.device)
        value = self.mean_value(recent.obs, recent.action)
        self.metrics.set(
            {
                "charts/q_bias": float((value - recent.value_target).mean()),
                "charts/q_correlation": correlation(value, recent.value_target),
                "charts/return_mean": float(recent.value_target.mean()),
            }
        )

    def _validate(self, held_out: Any) -> dict[str, float]:
        """Nothing is held out."""
        return {}


def check_learning(gamma: float, n_step: int, polyak: float, warmup_iterations: int) -> None:
    """Refuses impossible settings.

    Raises:
        UserError: if one is.
    """
    require(0 <= gamma <= 1, "model.gamma", gamma, "from 0 to 1")
    require(n_step >= 1, "model.n_step", n_step, "at least 1")
    require(0 < polyak <= 1, "model.polyak", polyak, "above 0 and at most 1")
    require(warmup_iterations >= 0, "model.warmup_iterations", warmup_iterations, "at least 0")
