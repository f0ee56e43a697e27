"""Building the environment of a task, or saying why that cannot be done here."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import torch

from rlft.envs.maniskill.assets import check_assets, no_questions
from rlft.envs.maniskill.explaining import explained
from rlft.envs.maniskill.headless import allow_no_renderer, without_looks
from rlft.envs.maniskill.imports import load
from rlft.envs.maniskill.options import check_options
from rlft.envs.maniskill.rewards import listed_reward_modes, reward_modes
from rlft.errors import UserError, did_you_mean, one_line

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill

LIBRARY = "https://github.com/sapien-sim/physx-precompiled/releases/download/{}/linux-so.zip"
ON_CPU = "device of the environment to cpu (`--data.env.device`, of other commands `--env_settings.device`)"
OUR_TASKS = ("rlft.tasks.lift_cube", "rlft.tasks.pick_cube")


def build(config: ManiSkill, num_envs: int, *, cuda: bool) -> tuple[Any, int]:
    """The environment and its time limit in env steps."""
    spec = registered(config.task, config.imports)
    limit = config.max_episode_steps or spec.max_episode_steps
    if limit is None:
        raise UserError(
            f"Task {config.task} has no time limit, which rlft needs to cut episodes and to evaluate; set "
            "max_episode_steps of the environment."
        )
    check_options(config.task, spec.cls, config.task_options)
    check_assets(config.task, spec)
    if config.reward_mode not in listed_reward_modes(spec.cls):
        raise UserError(_no_such_reward(config, spec))
    return _construct(config, spec, num_envs, cuda=cuda), limit


def registered(task: str, imports: Sequence[str] = ()) -> Any:
    """What ManiSkill's registry knows of a task, when modules of the user have been imported as well."""
    register_tasks(imports)
    registered = importlib.import_module("mani_skill.utils.registration").REGISTERED_ENVS
    if task not in registered:
        own = f", and {' and '.join(imports)} did not register it" if imports else ""
        meant = did_you_mean(task, registered, most=3) or "; PickCube-v1 is one that is."
        raise UserError(f"Task {task!r} is not registered with ManiSkill{own}{meant}")
    return registered[task]


def register_tasks(imports: Sequence[str] = ()) -> None:
    """Has ManiSkill's tasks, ours, and those of modules of the user, registered.

    Raises:
        UserError: if a module cannot be imported.
    """
    allow_no_renderer()  # before ManiSkill's modules copy the names they use
    for name in ("mani_skill.envs", *OUR_TASKS):
        _quiet_import(name)
    load(imports)


def _construct(config: ManiSkill, spec: Any, num_envs: int, *, cuda: bool) -> Any:
    backend = importlib.import_module("rlft.envs.maniskill.cpu_backend")
    kwargs = constructor_arguments(config, spec, num_envs)
    with no_questions(config.task), without_looks(), explained(config, "be built"):
        if cuda:
            enable_gpu()
            return spec.cls(**kwargs, sim_backend="physx_cuda", render_backend="none")
        with backend.cpu_batch_backend():
            return backend.batched(spec.cls)(**kwargs)


def enable_gpu() -> None:
    """Has PhysX simulate on the GPU from now on.

    Raises:
        UserError: if there is none, or the library cannot be had that SAPIEN fetches when it is first needed.
    """
    if not torch.cuda.is_available():
        raise UserError(f"PyTorch sees no CUDA device here to simulate on; set {ON_CPU}.")
    physx = importlib.import_module("sapien.physx")
    try:
        physx.enable_gpu()
    except (OSError, BadZipFile) as error:
        raise UserError(_no_library(error)) from error


def gpu_library() -> Path:
    """Where SAPIEN looks for PhysX's library for GPUs."""
    version: str = importlib.import_module("sapien.physx").version()
    return Path.home() / ".sapien" / "physx" / version / "libPhysXGpu_64.so"


def _no_library(error: Exception) -> str:
    folder = gpu_library().parent
    return (
        f"PhysX's library for GPUs, which SAPIEN fetches when first needed, cannot be had ({one_line(error)[:80]}): "
        f"unzip {LIBRARY.format(folder.name)} into {folder}, or set {ON_CPU}."
    )


def constructor_arguments(config: ManiSkill, spec: Any, num_envs: int) -> dict[str, Any]:
    """What the class of a task is called with, beside where it is simulated and drawn."""
    return {
        **spec.default_kwargs,
        **config.task_options,
        "num_envs": num_envs,
        "obs_mode": "state",
        "reward_mode": config.reward_mode,
        "control_mode": config.control_mode,
        **({} if config.robot is None else {"robot_uids": config.robot}),
    }


def _no_such_reward(config: ManiSkill, spec: Any) -> str:
    """One sentence with the rewards that the task has; builds it with each of them to see."""
    for mode in listed_reward_modes(spec.cls):
        return no_reward(config, reward_modes(_construct(replace(config, reward_mode=mode), spec, 1, cuda=False)))
    return no_reward(config, ())


def no_reward(config: ManiSkill, working: Sequence[str], why: str = "") -> str:
    """One sentence: the task has no such reward, and which it has."""
    if not working:
        return f"Task {config.task} has no reward that rlft could train with or measure; choose another task."
    has = " or ".join(working)
    return f"Task {config.task} has no reward {config.reward_mode}{why}; set reward_mode of the environment to {has}."


def _quiet_import(name: str) -> None:
    """ManiSkill and SAPIEN warn about Vulkan, torchvision and old robots on import; none of it concerns a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(name)
    logging.getLogger("mani_skill").setLevel(logging.ERROR)
