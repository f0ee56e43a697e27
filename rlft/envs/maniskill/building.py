"""Building the environment of a task, or saying why that cannot be done here."""

from __future__ import annotations

import difflib
import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from rlft.envs.maniskill.headless import allow_no_renderer
from rlft.errors import UserError, one_line

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill


def build(config: ManiSkill, num_envs: int, *, cuda: bool) -> tuple[Any, int]:
    """The environment and its time limit in env steps."""
    allow_no_renderer()  # before ManiSkill's modules copy the names they use
    _quiet_import("mani_skill.envs")
    backend = importlib.import_module("rlft.envs.maniskill.cpu_backend")
    registration = importlib.import_module("mani_skill.utils.registration")
    spec = registration.REGISTERED_ENVS.get(config.task)
    if spec is None:
        near = difflib.get_close_matches(config.task, registration.REGISTERED_ENVS, n=3) or ["PickCube-v1"]
        raise UserError(f"Task {config.task!r} is not registered with ManiSkill; did you mean {' or '.join(near)}?")
    if spec.max_episode_steps is None:
        raise UserError(f"Task {config.task} has no time limit, which rlft needs to cut episodes and to evaluate.")
    kwargs: dict[str, Any] = {
        **spec.default_kwargs,
        "num_envs": num_envs,
        "obs_mode": "state",
        "reward_mode": config.reward_mode,
        "control_mode": config.control_mode,
    }
    if config.robot is not None:
        kwargs["robot_uids"] = config.robot
    _check_assets(config.task, spec)
    with _no_questions(config.task):
        try:
            if cuda:
                env = spec.cls(**kwargs, sim_backend="physx_cuda", render_backend="none")
            else:
                with backend.cpu_batch_backend():
                    env = backend.batched(spec.cls)(**kwargs)
        except UserError:
            raise
        except Exception as error:
            raise UserError(_explain(config, error)) from error
    return env, spec.max_episode_steps


def _check_assets(task: str, spec: Any) -> None:
    """Refuses a task some of whose files are not on this machine."""
    assets = importlib.import_module("mani_skill.utils.assets")
    for asset in spec.asset_download_ids or []:
        sources = (
            assets.expand_data_group_into_individual_data_source_ids(asset) if asset in assets.DATA_GROUPS else [asset]
        )
        if not all(assets.is_data_source_downloaded(source) for source in sources):
            raise UserError(_missing_assets(task))


def _missing_assets(task: str) -> str:
    return (
        f"Task {task} needs assets that are not on this machine; fetch them with "
        f"`python -m mani_skill.utils.download_asset {task}`."
    )


def _explain(config: ManiSkill, error: Exception) -> str:
    reason = one_line(error)
    if isinstance(error, FileNotFoundError):
        return _missing_assets(config.task)
    if isinstance(error, KeyError) and config.control_mode and config.control_mode in reason:
        return f"Task {config.task} has no control mode {config.control_mode!r}: {reason}."
    if "render" in reason:
        return f"Task {config.task} cannot run here: its own code needs a renderer ({reason}), and rlft has none."
    settings = f"control {config.control_mode}, reward {config.reward_mode}"
    return f"Task {config.task} ({settings}) cannot run here: {reason[:300]}"


@contextmanager
def _no_questions(task: str) -> Iterator[None]:
    """ManiSkill asks on the terminal whether to download missing assets; a training run must not wait for that."""

    def refuse(question: str) -> bool:
        raise UserError(_missing_assets(task))

    download_asset = importlib.import_module("mani_skill.utils.download_asset")
    with patch.object(download_asset, "prompt_yes_no", refuse):
        yield


def _quiet_import(name: str) -> None:
    """ManiSkill and SAPIEN warn about Vulkan, torchvision and old robots on import; none of it concerns a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(name)
    logging.getLogger("mani_skill").setLevel(logging.ERROR)
