"""What tasks, robots and controllers keep beside the physics, as far as it can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rlft.envs.maniskill.building import build, no_reward
from rlft.envs.maniskill.explaining import explained
from rlft.envs.maniskill.rewards import middle_action, reward_modes
from rlft.envs.maniskill.telling import behaviour_of, entries_told
from rlft.errors import UserError, one_line

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill

# ManiSkill's own: kept elsewhere in a state, or of no consequence after a reset.
MANISKILLS = frozenset(
    {
        "_elapsed_steps",
        "_init_raw_obs",
        "_init_raw_state",
        "_last_obs",
        "_episode_seed",
        "_main_seed",
        "supported_robots",
    }
)
Path = tuple[str, ...]  # an attribute, and the keys to follow inside it if it is a dictionary


@dataclass(frozen=True, order=True)
class Slot:
    """A tensor with one row per scene, and how to make one where a task has not done so yet."""

    owner: str
    path: Path
    shape: tuple[int, ...] = ()  # of a row
    dtype: str = ""  # of torch


def owners(env: Any) -> dict[str, Any]:
    """The objects that keep state beside the physics, by name: the task, its robot and the robot's controllers."""
    agent = env.agent
    controller = None if agent is None else agent.controller
    parts = {f"controller.{name}": part for name, part in getattr(controller, "controllers", {}).items()}
    named = {"task": env, "controller": controller, **parts, "robot": agent}
    return {name: owner for name, owner in named.items() if owner is not None}


def rows_of(value: Any) -> Tensor | None:
    """The tensor in which the numbers of a tensor, array or `Pose` lie; `None` for anything else."""
    if type(value).__name__ == "Pose":
        value = getattr(value, "raw_pose", None)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value) if value.dtype.kind in "biuf" and value.flags.writeable else None
    return value if isinstance(value, Tensor) else None


def _batched(env: Any) -> dict[tuple[str, Path], Slot]:
    """Everything whose first dimension is the number of scenes."""
    found = {}
    for owner, thing in owners(env).items():
        for path, value in _values(vars(thing)):
            rows = rows_of(value)
            if rows is not None and rows.ndim and len(rows) == env.num_envs:
                found[owner, path] = Slot(owner, path, tuple(rows.shape[1:]), str(rows.dtype).removeprefix("torch."))
    return found


def _values(content: Mapping[Any, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Attributes, and what lies in those that are dictionaries."""
    for name, value in content.items():
        if isinstance(name, str) and (path or name not in MANISKILLS):
            if isinstance(value, dict):
                yield from _values(value, (*path, name))
            else:
                yield (*path, name), value


@dataclass(frozen=True)
class FirstStep:
    """What a task's first step tells of it.

    Attributes:
        slots: the tensors that follow the number of scenes; a constant of some length does so for one number only.
            What a task makes in its first step counts as well: until then it is taken to be zero.
        info: the entries of a step's `info` that are passed on.
    """

    slots: tuple[Slot, ...]
    info: tuple[str, ...]


@lru_cache
def first_step(config: ManiSkill) -> FirstStep:
    """Tries a task.

    Raises:
        UserError: if the task cannot make a step, has no such reward, or does not tell what it says that it tells.
    """
    found: list[dict[tuple[str, Path], Slot]] = []
    told: tuple[str, ...] = ()
    for num_envs in (3, 5):
        env, _ = build(config, num_envs, cuda=False)
        before = _batched(env)
        info = _step(config, env)
        told = entries_told(config.task, behaviour_of(config.task, env), info, num_envs)
        poses = [key for key, slot in _batched(env).items() if key not in before and _is_pose(env, slot)]
        later = {key: slot for key, slot in _batched(env).items() if key not in poses}
        found.append({**later, **before})
    return FirstStep(tuple(sorted(found[0][key] for key in found[0].keys() & found[1].keys())), told)


def _is_pose(env: Any, slot: Slot) -> bool:
    """Whether zeros would be no value of it."""
    return type(_get(owners(env)[slot.owner], slot.path)).__name__ == "Pose"


def _step(config: ManiSkill, env: Any) -> Mapping[str, Any]:
    """The `info` of a step of `env`; where that fails in the reward, the sentence lists the rewards that work."""
    try:
        info: Mapping[str, Any] = env.step(middle_action(env))[4]
    except Exception as error:
        working = reward_modes(env)
        if working and config.reward_mode not in working:
            why = f" that its code can compute ({one_line(error)[:100]})"
            raise UserError(no_reward(config, working, why)) from error
        with explained(config, "make a step"):
            raise
    return info


def _get(owner: Any, path: Path) -> Any:
    """What lies at `path` in an object; `None` if there is no such thing."""
    value: Any = vars(owner)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class TaskState:
    """Tensors with one row per scene that a task, its robot or its controllers keep beside the physics.

    A goal that is no actor, a counter, also in a dictionary, the target of a `use_target` controller.
    """

    def __init__(self, env: Any, slots: Sequence[Slot]) -> None:
        self.env = env
        self.slots = slots
        self.width = sum(int(np.prod(slot.shape)) for slot in slots)

    def save(self, rows: Sequence[int]) -> Tensor:
        """Numbers `[M, Q]` of scenes `rows`."""
        index, parts = torch.as_tensor(rows, dtype=torch.int64), owners(self.env)
        columns = []
        for slot in self.slots:
            tensor = rows_of(_get(parts[slot.owner], slot.path))
            if tensor is None:
                columns.append(torch.zeros(len(index), int(np.prod(slot.shape)), dtype=torch.float64))
            else:
                columns.append(tensor[index.to(tensor.device)].reshape(len(index), -1).double().cpu())
        return torch.cat(columns, 1) if columns else torch.zeros(len(index), 0, dtype=torch.float64)

    def restore(self, rows: Sequence[int], task: Tensor) -> None:
        """Gives scene `rows[i]` the numbers `task[i]`.

        Raises:
            UserError: if the numbers are those of another version of the task.
        """
        if task.shape[1] != self.width:
            raise UserError(
                f"A state holds {task.shape[1]} numbers beside the physics where this task has {self.width}: it was "
                "saved with another version of the task or of rlft."
            )
        index, column, parts = torch.as_tensor(rows, dtype=torch.int64), 0, owners(self.env)
        for slot in self.slots:
            tensor = self._existing(parts[slot.owner], slot)
            width = int(np.prod(slot.shape))
            values = task[:, column : column + width].reshape(len(index), *slot.shape)
            tensor[index.to(tensor.device)] = values.to(tensor.device, tensor.dtype)
            column += width

    def _existing(self, owner: Any, slot: Slot) -> Tensor:
        """The tensor of a slot, made of zeros where the task has none yet."""
        tensor = rows_of(_get(owner, slot.path))
        if tensor is None:
            tensor = torch.zeros(
                self.env.num_envs, *slot.shape, dtype=getattr(torch, slot.dtype), device=self.env.device
            )
            inner = vars(owner)
            for name in slot.path[:-1]:
                inner = inner.setdefault(name, {})
            inner[slot.path[-1]] = tensor
        return tensor
