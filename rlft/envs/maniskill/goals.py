"""Which tasks have goals that hindsight can replace: PickCube, PushCube, PullCube, and those that say so themselves."""

from __future__ import annotations

import importlib
from typing import Any

from rlft.types import Goals

FINGERS = {"panda": 2, "so100": 1}  # joints at the end whose speeds PickCube does not mind
EXTRA = 24  # numbers that PickCube observes beside the robot
ON_TABLE = 17  # numbers that PushCube and PullCube do


def goals_of(env: Any) -> Goals | None:
    """Goals in the observations of an environment that was built; `None` if it has none.

    A task of one's own has a method `hindsight` that returns them.
    """
    if hasattr(env, "hindsight"):
        own: Goals = env.hindsight()
        return own
    if isinstance(env, _task("pick_cube", "PickCubeEnv")):
        return _of_pick_cube(env)
    if isinstance(env, _task("push_cube", "PushCubeEnv")):
        return _on_table(env, ceiling=env.cube_half_size + 5e-3)
    return _on_table(env) if isinstance(env, _task("pull_cube", "PullCubeEnv")) else None


def _task(module: str, name: str) -> Any:
    """A class of ManiSkill's, which is imported where environments are built alone."""
    return getattr(importlib.import_module(f"mani_skill.envs.tasks.tabletop.{module}"), name)


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


def _on_table(env: Any, ceiling: float | None = None) -> Goals | None:
    """The cube in a circle on the table, its centre below `ceiling`: joints, speeds, gripper (7), goal, cube (7)."""
    end = 2 * env.agent.robot.max_dof + ON_TABLE
    if env.single_observation_space.shape != (end,):
        return None
    return Goals(
        achieved=slice(end - 7, end - 5),
        goal=slice(end - 10, end - 8),
        radius=env.goal_radius,
        low=None if ceiling is None else slice(end - 5, end - 4),
        ceiling=ceiling or 0.0,
    )
