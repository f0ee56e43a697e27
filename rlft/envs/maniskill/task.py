"""The configuration of a ManiSkill task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from rlft.envs.maniskill.batch import ManiSkillBatch
from rlft.envs.maniskill.physics import geometry
from rlft.errors import UserError
from rlft.types import BatchEnv, EnvFactory, Primitive, settings_of


@dataclass(frozen=True)
class ManiSkill(EnvFactory):
    """A ManiSkill task with state observations.

    Runs on ManiSkill's own `physx_cuda` where there is a CUDA device, else on rlft's batched CPU scenes.

    Args:
        task: the task's registered name.
        control_mode: how actions drive the robot; `null` takes the task's default.
        reward_mode: `sparse` is 1 on success (and -1 on a task's failure flag).
        robot: the robot's name; `null` takes the task's default.
        device: where to simulate: `cpu`, `cuda`, or `auto` for CUDA where there is one.
    """

    task: str = "PickCube-v1"
    control_mode: str | None = "pd_joint_delta_pos"
    reward_mode: Literal["sparse", "dense", "normalized_dense"] = "sparse"
    robot: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @classmethod
    def of_policy(cls, info: Mapping[str, Any], task: str | None = None, control_mode: str | None = None) -> ManiSkill:
        """With these settings, or else those that a policy's file names in its `info`, or else the defaults."""
        return cls(
            task=task or info.get("task", cls.task),
            control_mode=control_mode or info.get("control_mode", cls.control_mode),
        )

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` scenes of the task; see `EnvFactory.make`."""
        batch = ManiSkillBatch(self, num_envs, cuda=self._cuda)
        if not self._cuda and len({geometry(system) for system in batch.env.scene.px.systems}) > 1:
            raise UserError(
                f"Task {self.task} builds different objects in every scene, so its states cannot be moved between "
                "scenes, as rollouts do; choose a task whose scenes are alike."
            )
        return batch

    def starts(self) -> str:
        """See `EnvFactory.starts`: a device draws random numbers of its own."""
        return f"{self.task}, robot {self.robot}, {'cuda' if self._cuda else 'cpu'}"

    def data_settings(self) -> Mapping[str, Primitive]:
        """See `EnvFactory.data_settings`: where it is simulated does not count."""
        return settings_of(self, without={"device"})

    @property
    def _cuda(self) -> bool:
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
