"""A controller that moves the gripper along the axes of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from mani_skill.agents.controllers.base_controller import ControllerConfig
from mani_skill.agents.controllers.pd_joint_pos import PDJointPosController
from torch import Tensor

from rlft.tasks.kinematics import Arm, rotation_between, solve


class CartesianController(PDJointPosController):  # type: ignore[misc]  # ManiSkill has no types
    """An action of 3 numbers moves the gripper by so many metres; joints are driven to what that takes.

    One Newton step per action, from the joints' positions as they are: what the robot does depends on nothing else.
    """

    def _initialize_joints(self) -> None:
        super()._initialize_joints()
        config = self.config
        self.arm = Arm(self.articulation.links_map, config.tips, config.joint_names, config.beyond)
        joints = [*config.joint_names, *([config.beyond] if config.beyond else [])]
        index = [joint.name for joint in self.articulation.active_joints]
        self._read = [index.index(name) for name in joints]
        self._free = [i for i, name in enumerate(config.joint_names) if name not in config.locked]
        self._held = {config.joint_names.index(name): angle for name, angle in config.locked.items()}
        self._low, self._high = self.articulation.get_qlimits()[0, self.active_joint_indices].T

    def _initialize_action_space(self) -> None:
        step = np.full(3, self.config.step, np.float32)
        self.single_action_space = spaces.Box(-step, step, dtype=np.float32)

    def set_action(self, action: Any) -> None:
        """Drives the joints to where the gripper is moved by `action [N, 3]`."""
        move = self._preprocess_action(action)
        self._step, self._start_qpos = 0, self.qpos
        self._target_qpos = self.moved(self.articulation.get_qpos()[:, self._read], move)
        self.set_drive_targets(self._target_qpos)

    def moved(self, q: Tensor, move: Tensor) -> Tensor:
        """Positions `[N, D]` of the arm's joints that move the gripper by `move [N, 3]` metres from `q`."""
        reached = self.arm.reach(q, self.config.root)
        rows, wanted = reached.jacobian[:, :3, self._free], move
        if self.config.upright is not None:
            rows = reached.jacobian[:, :, self._free]
            wanted = torch.cat([move, rotation_between(reached.rotation, self.config.upright.to(q.device))], 1)
        target = q[:, : self.arm.count].clone()
        target[:, self._free] += solve(rows, wanted)
        for i, angle in self._held.items():
            target[:, i] = angle
        return target.clamp(self._low, self._high)

    def reaching(self, q: Tensor, place: Tensor, steps: int = 30) -> Tensor:
        """Positions `[N, D]` in which the gripper is at `place [N, 3]`, as near as it gets, looked for from `q`."""
        for _ in range(steps):
            q = torch.cat(
                [self.moved(q, place - self.arm.reach(q, self.config.root).position), q[:, self.arm.count :]], 1
            )
        return q[:, : self.arm.count]


@dataclass
class CartesianControllerConfig(ControllerConfig):  # type: ignore[misc]
    """See `CartesianController`; joints by name, from the root."""

    stiffness: float
    damping: float
    force_limit: float
    tips: Sequence[str]  # links in the middle of which the gripper is
    root: Tensor  # [4, 4] the robot's place in the world, which it keeps
    step: float = 0.02  # metres of an action of 1, per axis
    beyond: str | None = None  # the joint of a jaw that has one of the tips
    upright: Tensor | None = None  # [3, 3] the gripper's rotation, kept; else it turns as it needs to
    locked: Mapping[str, float] = field(default_factory=dict)  # joints that are kept at an angle
    friction: float = 0.0
    use_target: bool = False
    interpolate: bool = False
    normalize_action: bool = True
    drive_mode: str = "force"
    controller_cls = CartesianController
