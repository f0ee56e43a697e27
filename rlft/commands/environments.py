"""The environment in which a policy is played."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
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
