"""Where the gripper of a serial arm is, and which joint motions move it: batched, from the joints that were built.

ManiSkill's own solver handles a batch by one library and a single environment by another, in the robot's axes, and
wants six degrees of freedom. This one is the same everywhere, works in world axes, and asks of the gripper's
orientation what it is told to.

N: scenes; D: joints of the arm; R: rows that are solved for, 3 of position and up to 3 of rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

DAMPING = 1e-4  # of the least squares, as ManiSkill's: where the arm is stretched, joints do not run away


@dataclass(frozen=True)
class Reached:
    """Where an arm has its gripper."""

    position: Tensor  # [N, 3] metres, in world axes, as all of this
    rotation: Tensor  # [N, 3, 3]
    jacobian: Tensor  # [N, 6, D] metres and radians per radian


class Arm:
    """The revolute joints from a robot's root to its gripper.

    Args:
        links: of ManiSkill's articulation, by name.
        tips: links the mean of whose places is that of the gripper; each is fixed to the last joint or to one after it.
        joints: names of the joints, from the root.
        beyond: name of a joint after these that moves a tip, such as that of a jaw.
    """

    def __init__(self, links: Any, tips: Sequence[str], joints: Sequence[str], beyond: str | None = None) -> None:
        names = [*joints, *([beyond] if beyond else [])]
        paths = [_path(links[tip], names) for tip in tips]
        longest = max(paths, key=lambda path: len(path.names))
        self.count = len(joints)
        self.fixed = longest.fixed[: len(longest.names)]  # [4, 4] from each joint to the next
        self.ends = [(len(path.names), path.fixed[-1]) for path in paths]  # after how many joints a tip is, and where

    def reach(self, q: Tensor, root: Tensor) -> Reached:
        """Where the gripper is.

        Args:
            q: positions of the joints, and of that beyond, `[N, D or D + 1]`, radians.
            root: of the robot, `[4, 4]`.
        """
        here = root.to(q.device).expand(len(q), 4, 4)
        axes, anchors, after = [], [], [here]
        for i, fixed in enumerate(self.fixed):
            joint = here @ fixed.to(q.device)
            axes.append(joint[:, :3, 0])
            anchors.append(joint[:, :3, 3])
            here = joint @ _turn(q[:, i])
            after.append(here)
        tips = [after[count] @ end.to(q.device) for count, end in self.ends]
        position = torch.stack([tip[:, :3, 3] for tip in tips]).mean(0)
        axis, anchor = torch.stack(axes[: self.count], 2), torch.stack(anchors[: self.count], 2)  # [N, 3, D]
        moves = torch.linalg.cross(axis, position[:, :, None] - anchor, dim=1)
        return Reached(position, tips[0][:, :3, :3], torch.cat([moves, axis], 1))


def solve(jacobian: Tensor, wanted: Tensor) -> Tensor:
    """Joint motions `[N, D]` that come nearest to `wanted [N, R]`: one step of damped least squares."""
    transposed = jacobian.transpose(1, 2)
    square = transposed @ jacobian + DAMPING * torch.eye(jacobian.shape[2], device=jacobian.device)
    motions: Tensor = torch.linalg.solve(square, (transposed @ wanted[:, :, None]).squeeze(-1))
    return motions


def rotation_between(start: Tensor, end: Tensor) -> Tensor:
    """The rotation vector `[N, 3]`, for small angles, that turns `start [N, 3, 3]` into `end [N, 3, 3] or [3, 3]`."""
    turn = end @ start.transpose(1, 2)
    return (
        torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], 1)
        / 2
    )


@dataclass(frozen=True)
class _Path:
    names: list[str]  # of the joints that turn
    fixed: list[Tensor]  # [4, 4] from the root or a joint to the next one, and at last to the link


def _path(link: Any, names: Sequence[str]) -> _Path:
    """From the root to a link."""
    turning, fixed, here = [], [], torch.eye(4)
    while link.joint is not None and link.joint.parent_link is not None:
        joint = link.joint._objs[0]
        here = _matrix(joint.pose_in_child.inv()) @ here
        if link.joint.name in names:
            turning.append(link.joint.name)
            fixed.append(here)
            here = torch.eye(4)
        here = _matrix(joint.pose_in_parent) @ here
        link = link.joint.parent_link
    return _Path(turning[::-1], [here, *fixed[::-1]])


def _matrix(pose: Any) -> Tensor:
    return torch.as_tensor(pose.to_transformation_matrix(), dtype=torch.float32)


def _turn(angle: Tensor) -> Tensor:
    """Rotations `[N, 4, 4]` about the x-axis, which is that of every joint."""
    turn = torch.eye(4, device=angle.device).repeat(len(angle), 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 2, 1] = angle.sin()
    turn[:, 1, 2] = -angle.sin()
    return turn
