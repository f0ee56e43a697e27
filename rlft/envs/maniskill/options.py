"""Options of a task: arguments of its constructor beside those that rlft sets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rlft.errors import UserError

OURS = {"num_envs", "obs_mode", "reward_mode", "control_mode", "robot_uids", "sim_backend", "render_backend"}
LOOKS = {"render_mode", "shader_dir", "enable_shadow", "sensor_configs", "human_render_camera_configs"}
LOOKS |= {"viewer_camera_configs", "parallel_in_single_scene"}
FIXED = {"reconfiguration_freq"}  # scenes that are built anew have no state that could be restored
HAS_A_FIELD = {"robot_uids": "robot", "reward_mode": "reward_mode", "control_mode": "control_mode"}


def check_options(task: str, cls: type, options: Mapping[str, Any]) -> None:
    """Refuses options that the constructor of a task does not have.

    Raises:
        UserError: that lists those it has.
    """
    allowed = option_names(cls)
    wrong = [name for name in options if name not in allowed]
    if wrong and wrong[0] in HAS_A_FIELD:
        raise UserError(f"task_options sets {wrong[0]}; set {HAS_A_FIELD[wrong[0]]} of the environment instead.")
    if wrong:
        raise UserError(f"Task {task} has no option {wrong[0]!r}; its task_options are {', '.join(allowed)}.")


def option_names(cls: type) -> list[str]:
    """What a task's constructor takes, also through `**kwargs`, that changes what happens in its scenes."""
    names: list[str] = []
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        kinds = {parameter.kind for parameter in parameters}
        named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        names += [name for name in named if name not in names]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return [name for name in names if name not in OURS | LOOKS | FIXED | {"self"}]
