"""One environment of Gymnasium, played without its own time limit."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from rlft.envs.gymnasium.spaces import ActionSpace, Observations
from rlft.envs.replayed import Outcome
from rlft.errors import UserError

TOLD = ("success", "is_success")  # entries of a step's info


class GymnasiumScene:
    """Implements `rlft.envs.replayed.Scene`.

    Args:
        env: the environment.
        task: its name.
        limit: steps of an episode.
        success_return: from which return on an episode is a success; `None` if steps tell success.
        told_first: whether a step that tells success itself is believed instead.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], task: str, limit: int, success_return: float | None, *, told_first: bool
    ) -> None:
        self.env, self.task, self.limit = env, task, limit
        self.success_return, self.told_first = success_return, told_first
        self.observations, self.actions = Observations(task, env.observation_space), ActionSpace(task, env.action_space)
        self._obs: Any = None
        self._steps, self._return = 0, 0.0

    def reset(self, seed: int) -> None:
        """Begins an episode."""
        self._obs, _ = self.env.reset(seed=seed)
        self._steps, self._return = 0, 0.0

    def act(self, action: NDArray[np.generic]) -> Outcome:
        """Takes an action.

        Raises:
            UserError: if the environment truncates the episode by a limit of its own.
        """
        self._obs, reward, terminated, truncated, info = self.env.step(self.actions.native(action))
        self._steps, self._return = self._steps + 1, self._return + float(reward)
        if truncated and not terminated and self._steps < self.limit:
            raise UserError(
                f"{self.task} truncated an episode itself, after {self._steps} steps, and rlft only by its time limit; "
                f"data.env.max_episode_steps is {self.limit}, and must be what the environment has."
            )
        return Outcome(float(reward), bool(terminated), self._success(bool(terminated), info))

    def look(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The observation."""
        return self.observations.split(self._obs)

    def _success(self, terminated: bool, info: dict[str, Any]) -> bool:
        if self.success_return is None or (self.told_first and any(name in info for name in TOLD)):
            return any(bool(info.get(name, False)) for name in TOLD)
        return (terminated or self._steps == self.limit) and self._return >= self.success_return
