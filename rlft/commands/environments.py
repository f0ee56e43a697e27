"""The environment in which a policy is played."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlft.envs.maniskill import AS_RECORDED, EnvSettings, ManiSkill
from rlft.errors import UserError, one_line
from rlft.networks.policy_files import Policy
from rlft.types import EnvFactory

ENVIRONMENT = "environment"  # entry of a policy's file: class and arguments, where it is no task of ManiSkill


def environment_of(
    policy: Policy, task: str | None = None, control_mode: str | None = None, settings: EnvSettings = AS_RECORDED
) -> EnvFactory:
    """What the policy's file says, changed as asked for; see `ManiSkill.of_policy`.

    Raises:
        UserError: if there is no such environment, as when a module that registers its task is not here.
    """
    try:
        if ENVIRONMENT in policy.info and task in (None, policy.info.get("task")):
            return _recorded(policy.info[ENVIRONMENT], control_mode, settings)
        return ManiSkill.of_policy(policy.info, task, control_mode, settings)
    except UserError as error:
        raise UserError(f"The environment of policy {policy.name}: {error}") from error


def side_by_side(policies: Sequence[Policy], envs: Sequence[EnvFactory]) -> list[EnvFactory]:
    """The environments of two policies, with the time limit of the first one.

    Successes within two times say nothing together, nor do episodes from other states. A policy whose file names no
    robot has that of the other.

    Raises:
        UserError: if their episodes do not begin in the same states.
    """
    (one, other), (first, last) = policies, envs
    if task_of(first) != task_of(last):
        tasks = f"{one.name} is for {task_of(first)}, {other.name} for {task_of(last)}"
        sizes = [f"{policy.actor.obs_dim} observations to {policy.actor.action_dim} actions" for policy in policies]
        if sizes[0] == sizes[1]:
            raise UserError(f"{tasks}; --task {task_of(first)} --accept_mismatch '[task]' plays both in one.")
        raise UserError(f"{tasks}: one maps {sizes[0]}, the other {sizes[1]}, so no task could compare them.")
    if isinstance(first, ManiSkill) and isinstance(last, ManiSkill):
        if first.max_episode_steps != last.max_episode_steps:
            limits = [str(env.max_episode_steps or "that of the task") for env in (first, last)]
            print(f"The time limit, in env steps, is {limits[0]} for both; {other.name} was made with {limits[1]}.")
        first = replace(first, robot=first.robot or last.robot)
        last = replace(last, robot=last.robot or first.robot, max_episode_steps=first.max_episode_steps)
    elif first != last:
        print(f"{one.name} plays in {first}, {other.name} in {last}.")
    if first.starts() != last.starts():
        raise UserError(
            f"{one.name} begins in states of {first.starts()}; {other.name} in those of {last.starts()}; what is given "
            "by --env_settings holds for both, and --accept_mismatch lets a policy play in what it was not made for."
        )
    return [first, last]


def task_of(env: EnvFactory) -> str:
    """What an environment is called."""
    return str(getattr(env, "task", type(env).__name__))


def _recorded(said: Any, control_mode: str | None, settings: EnvSettings) -> EnvFactory:
    """An environment by class and arguments; `task_options` are arguments of its constructor."""
    if control_mode is not None or replace(settings, task_options=None) != AS_RECORDED:
        raise UserError("it is no task of ManiSkill; of env_settings only task_options, its arguments, can be given.")
    if not (isinstance(said, Mapping) and isinstance(said.get("class_path"), str)):
        raise UserError(f"the file says {said!r}, where class_path and init_args of an environment belong.")
    module, _, name = said["class_path"].rpartition(".")
    arguments = {**said.get("init_args", {}), **(settings.task_options or {})}
    try:
        cls = getattr(importlib.import_module(module), name)
        if not (isinstance(cls, type) and issubclass(cls, EnvFactory)):
            raise UserError(f"{said['class_path']} is no environment.")
        return cls(**arguments)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"{said['class_path']} cannot be built with {arguments}: {one_line(error)}.") from error
