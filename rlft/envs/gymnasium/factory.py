"""The configuration of an environment of Gymnasium."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import gymnasium
import numpy as np

from rlft.envs.gymnasium.scene import TOLD, GymnasiumScene
from rlft.envs.replayed import ReplayedBatch
from rlft.errors import UserError, one_line, require
from rlft.types import BatchEnv, EnvFactory, EnvSpec
from rlft.types.settings import Primitive, settings_of


@dataclass(frozen=True)
class Gymnasium(EnvFactory):
    """Any environment of Gymnasium with a Box of observations, and a Box or a Discrete of actions.

    It has to be a function of its reset seed and the actions, since that is how its states are restored. Its time limit
    is rlft's: a truncated episode is bootstrapped, a terminated one is not. An episode is a success if its steps say
    so in `info`, as `success` or `is_success`, or else if its return has reached `success_return` when it ends.

    Args:
        task: its id, such as `CartPole-v1`, or `module:id` with the module that registers it.
        options: arguments of its constructor.
        max_episode_steps: env steps until an episode is truncated; by default as registered.
        success_return: from which return on an episode is a success; by default as `info` says, or else the reward
            threshold that is registered.
    """

    task: str = "CartPole-v1"
    options: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    success_return: float | None = None

    def __post_init__(self) -> None:
        limit, wanted = self.max_episode_steps, self.success_return
        require(limit is None or limit >= 1, "data.env.max_episode_steps", limit, "at least 1")
        require(wanted is None or np.isfinite(wanted), "data.env.success_return", wanted, "finite")

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` environments.

        They are stepped one by one, as Gymnasium's own `SyncVectorEnv` does, which cannot leave some of them alone:
        those whose episode has ended, and all others while one is being restored.

        Raises:
            UserError: if there is no such environment, or rlft cannot see or act as it does.
        """
        limit, success_return = self._limit(), self._success_return()
        first = self._scene(limit, success_return)
        (low, high), observations = first.actions.bounds, first.observations
        spec = EnvSpec(
            self.task,
            observations.obs_dim,
            len(low),
            low,
            high,
            limit,
            image=observations.image,
            choices=first.actions.choices,
            snapshots=False,
        )
        return ReplayedBatch(spec, lambda: self._scene(limit, success_return), num_envs)

    def data_settings(self) -> Mapping[str, Primitive]:
        """See `EnvFactory.data_settings`."""
        return {**settings_of(self), "options": json.dumps(self.options, sort_keys=True, default=repr)}

    def describe(self, spec: EnvSpec) -> dict[str, Any]:
        """See `EnvFactory.describe`; with the arguments that build it again."""
        arguments = json.loads(json.dumps(asdict(self), default=repr))
        again = {"class_path": "rlft.envs.Gymnasium", "init_args": arguments}
        return {**super().describe(spec), "task_options": arguments["options"], "environment": again}

    def _scene(self, limit: int, success_return: float | None) -> GymnasiumScene:
        told_first = self.success_return is None
        return GymnasiumScene(self._built(), self.task, limit, success_return, told_first=told_first)

    def _built(self) -> gymnasium.Env[Any, Any]:
        """The environment, without a time limit of its own."""
        try:
            return gymnasium.make(self.task, max_episode_steps=-1, disable_env_checker=True, **self.options)
        except Exception as error:  # of somebody's module and constructor
            raise UserError(
                f"Gymnasium cannot make data.env.task {self.task} with options {self.options}: "
                f"{one_line(error).rstrip('.?!')}."
            ) from error

    def _registered(self) -> gymnasium.envs.registration.EnvSpec:
        self._built().close()  # imports the module that registers it
        return gymnasium.spec(self.task.rpartition(":")[2])

    def _limit(self) -> int:
        limit = self.max_episode_steps or self._registered().max_episode_steps
        if limit is None:
            raise UserError(f"{self.task} is registered without a time limit; set data.env.max_episode_steps.")
        return int(limit)

    def _success_return(self) -> float | None:
        """The return that counts as success; `None` if the steps tell."""
        if self.success_return is not None or self._tells():
            return self.success_return
        threshold = self._registered().reward_threshold
        if threshold is None:
            raise UserError(
                f"{self.task} does not say what success is, neither in info nor by a reward threshold; set "
                "data.env.success_return to the return from which on an episode is one."
            )
        return float(threshold)

    def _tells(self) -> bool:
        """Whether a step says of itself if it is a success."""
        env = self._built()
        env.reset(seed=0)
        env.action_space.seed(0)
        info = env.step(env.action_space.sample())[4]
        env.close()
        return any(name in info for name in TOLD)
