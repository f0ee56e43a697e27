"""Stages of LiftCube-v1, and the script that leads into them: above the cube, down, close, up.

N: scenes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rlft.tasks.lift_cube import LiftCube

STAGES = ("near", "grasped", "elevated", "lifted")  # in the order in which an episode goes through them
NEAR = 0.03  # metres of the gripper above the cube's centre, in a start near it
CLOSE = (0.02, 0.05)  # metres from gripper to cube that are near
ABOVE = 0.05  # metres of the gripper above the cube before it goes down
RAISED = 0.01  # metres above rest, from which on a cube is off the table
ELEVATED = (0.02, 0.04)  # metres above rest that a cube is raised to in stage `elevated`
BEYOND = 0.01  # metres beyond the goal that it is raised to in stage `lifted`
WIDE, READY, SHUT = 0.57, 0.2, -1.0  # actions of the gripper: wide open, somewhat wider than a cube, closed


def prelude(task: LiftCube, stage: str) -> Iterator[Tensor]:
    """Actions `[N, 4]` from an ordinary start into a stage, each made when the scenes have taken the one before."""
    if stage == "near":
        for _ in range(24):
            yield _towards(task, _above_cube(task, NEAR), WIDE)
        return
    for _ in range(14):
        yield _towards(task, _above_cube(task, ABOVE), READY)
    for t in range(28):
        yield _towards(task, _above_cube(task, 0), READY if t < 16 else SHUT)
    for _ in range(0 if stage == "grasped" else 25):
        yield _towards(task, _up_to(task, _heights(task, stage)), SHUT)


def arrived(task: LiftCube, stage: str, info: Mapping[str, Tensor]) -> Tensor:
    """Which scenes are in a stage, `[N]` bool, by what the task's `evaluate` says."""
    grasped, raised = info["is_grasped"], info["cube_z"] - task.cube_half_size
    distance = info["reach_distance"]
    return {
        "near": ~grasped & (distance >= CLOSE[0]) & (distance <= CLOSE[1]),
        "grasped": grasped & (raised <= RAISED),
        "elevated": grasped & (raised > RAISED) & (raised <= task.goal),
        "lifted": grasped & (raised > task.goal),
    }[stage]


def _heights(task: LiftCube, stage: str) -> Tensor:
    """Metres above rest `[N]` that cubes are raised to: from scene to scene others, where the stage is a range."""
    low, high = ELEVATED if stage == "elevated" else (task.goal + BEYOND, task.goal + BEYOND)
    return torch.linspace(low, high, task.num_envs, device=task.device)


def _above_cube(task: LiftCube, height: float) -> Tensor:
    """The way `[N, 3]` of the gripper, in metres, to a place above where the cube rests."""
    gripper: Tensor = task.agent.tcp_pose.p
    place: Tensor = task.cube.pose.p.clone()
    place[:, 2] = task.cube_half_size + height
    return place - gripper


def _up_to(task: LiftCube, height: Tensor) -> Tensor:
    """The way `[N, 3]` of the cube to `height [N]` above rest."""
    up = torch.zeros(task.num_envs, 3, device=task.device)
    up[:, 2] = height + task.cube_half_size - task.cube.pose.p[:, 2]
    return up


def _towards(task: LiftCube, way: Tensor, gripper: float) -> Tensor:
    """The action `[N, 4]` that goes a way `[N, 3]`, as far as one action does."""
    step = task.agent.controller.controllers["arm"].config.step
    return torch.cat([way / step, way.new_full((len(way), 1), gripper)], 1).clamp(-1, 1)
