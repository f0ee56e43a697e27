"""Which tasks have goals that hindsight can replace: PickCube, and those that say so themselves."""

from __future__ import annotations

import importlib
from typing import Any

from rlft.types import Goals

FINGERS = {"panda": 2, "so100": 1}  # joints at the end whose speeds PickCube does not mind
EXTRA = 24  # numbers that PickCube observes beside the robot


def goals_of(env: Any) -> Goals | None:
    """Goals in the observations of an environment that was built; `None` if it has none.

    A task of one's own has a method `hindsight` that returns them.
    """
    if hasattr(env, "hindsight"):
        own: Goals = env.hindsight()
        return own
    pick_cube = importlib.import_module("mani_skill.envs.tasks.tabletop.pick_cube").PickCubeEnv
    return _of_pick_cube(env) if isinstance(env, pick_cube) else None


def _of_pick_cube(env: Any) -> Goals | None:
    """The cube within a ball, the arm at rest: joints, speeds, grasp, gripper (7), goal, cube (7), two distances."""
    joints, fingers = env.agent.robot.max_dof, FINGERS.get(env.agent.uid)
    end = 2 * joints + EXTRA
    if fingers is None or env.single_observation_space.shape != (end,):  # controllers may have a state that is seen
        return None
    return Goals(
        achieved=slice(end - 13, end - 10),
        offset=slice(end - 3, end),
        radius=env.goal_thresh,
        goal=slice(end - 16, end - 13),
        still=slice(joints, 2 * joints - fingers),
        speed=0.2,  # metres and radians per second
    )
