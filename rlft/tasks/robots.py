"""Robots whose grippers are moved along the axes of the world: a Panda, and an SO-100."""

from __future__ import annotations

from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.agents.controllers import PDJointPosControllerConfig
from mani_skill.agents.registration import register_agent
from mani_skill.agents.robots.panda.panda import Panda
from mani_skill.agents.robots.so100.so_100 import SO100
from mani_skill.utils.structs.pose import Pose
from torch import Tensor

from rlft.tasks.cartesian import CartesianControllerConfig

MODE = "pd_xyz"


@register_agent()
class PandaXYZ(Panda):  # type: ignore[misc]  # ManiSkill has no types
    """A Panda with one more control mode: 2 cm along the axes of the world, gripper straight down."""

    uid = "panda_xyz"
    base = sapien.Pose([-0.615, 0, 0])
    ready = np.array([0, np.pi / 8, 0, -np.pi * 5 / 8, 0, np.pi * 3 / 4, np.pi / 4, 0.04, 0.04])  # joints, fully open
    noisy = 7  # joints whose first positions are drawn
    down = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # the gripper's rotation when it points straight down

    @property
    def _controller_configs(self) -> dict[str, Any]:
        stock = super()._controller_configs
        arm = CartesianControllerConfig(
            self.arm_joint_names,
            self.arm_stiffness,
            self.arm_damping,
            self.arm_force_limit,
            tips=[self.ee_link_name],
            root=_matrix(self.base),
            upright=self.down,
        )
        return {MODE: {"arm": arm, "gripper": stock["pd_joint_delta_pos"]["gripper"]}, **stock}

    @property
    def opening(self) -> Tensor:
        """Metres between the fingers, `[N]`."""
        opening: Tensor = self.robot.get_qpos()[:, -2:].sum(1)
        return opening

    @property
    def moving_tip(self) -> Tensor:
        """The place `[N, 3]` of the tip of the second finger."""
        along = self.tcp_pose.to_transformation_matrix()[:, :3, 1]
        tip: Tensor = self.tcp_pose.p - along * self.robot.get_qpos()[:, -1:]
        return tip


@register_agent()
class SO100XYZ(SO100):  # type: ignore[misc]
    """An SO-100 that is moved by 2 cm along the axes of the world; its wrist does not roll, and it does not crush.

    With five joints, position is what can be asked for; the gripper tilts as it needs to. The stock gripper may use 100
    N m, by which closing throws a cube out.
    """

    uid = "so100_xyz"
    base = sapien.Pose([-0.725, 0, 0], q=[np.sqrt(0.5), 0, 0, np.sqrt(0.5)])  # its front is the y-axis
    ready = np.array([0, 0, 0, np.pi / 2, np.pi / 2, 0])  # joints; the gripper straight down, fingers 83 mm apart
    noisy = 5
    down = torch.tensor([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    gripper_force_limit = 1.0  # N m

    @property
    def _controller_configs(self) -> dict[str, Any]:
        arm = CartesianControllerConfig(
            self.arm_joint_names,
            stiffness=1e3,
            damping=1e2,
            force_limit=100,
            tips=["Fixed_Jaw_tip", "Moving_Jaw_tip"],
            root=_matrix(self.base),
            beyond="gripper",
            locked={"wrist_roll": float(np.pi / 2)},
        )
        gripper = PDJointPosControllerConfig(
            self.gripper_joint_names, -1.1, 0.3, stiffness=1e3, damping=1e2, force_limit=self.gripper_force_limit
        )
        return {MODE: {"arm": arm, "gripper": gripper}}

    @property
    def opening(self) -> Tensor:
        """Metres between the tips of the jaws, `[N]`."""
        opening: Tensor = (self.finger1_tip.pose.p - self.finger2_tip.pose.p).norm(dim=1)
        return opening

    @property
    def moving_tip(self) -> Tensor:
        """The place `[N, 3]` of the tip of the moving jaw."""
        tip: Tensor = self.finger2_tip.pose.p
        return tip


def _matrix(pose: sapien.Pose) -> Tensor:
    return torch.as_tensor(Pose.create(pose).to_transformation_matrix()[0])
