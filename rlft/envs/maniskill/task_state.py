"""What tasks and controllers keep beside the physics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlft.envs.maniskill.building import build

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill


def _owners(env: Any) -> dict[str, Any]:
    """The objects that keep state beside the physics: the task and its controllers, by name."""
    controller = env.agent.controller if env.agent is not None else None
    parts = {f"controller.{name}": part for name, part in getattr(controller, "controllers", {}).items()}
    return {"task": env, **({"controller": controller} if controller is not None else {}), **parts}


def _tensor(owner: Any, name: str) -> Any:
    """Attribute `name`, or the numbers inside it if it is a `Pose`."""
    value = vars(owner).get(name)
    return getattr(value, "raw_pose", value) if type(value).__name__ == "Pose" else value


def _batched_names(env: Any) -> frozenset[tuple[str, str]]:
    """(owner, attribute) of the tensors whose first dimension is the number of environments."""
    return frozenset(
        (where, name)
        for where, owner in _owners(env).items()
        for name in vars(owner)
        if isinstance(tensor := _tensor(owner, name), Tensor) and tensor.ndim and len(tensor) == env.num_envs
    )


@lru_cache
def task_state_names(config: ManiSkill) -> frozenset[tuple[str, str]]:
    """Those that follow the number of environments; a constant of some length does so for one number only."""
    names = [_batched_names(build(config, num_envs, cuda=False)[0]) for num_envs in (3, 5)]
    return names[0] & names[1]


class TaskState:
    """Tensors with one row per environment that a task or its controllers keep beside the physics.

    A goal that is no actor, a counter, the target of a `use_target` controller.
    """

    IGNORED = frozenset({"_elapsed_steps", "_init_raw_obs", "_last_obs"})

    def __init__(self, env: Any, names: frozenset[tuple[str, str]]) -> None:
        self.env = env
        self.names = sorted((where, name) for where, name in names if name not in self.IGNORED)

    def _tensors(self) -> Iterator[Tensor]:
        owners = _owners(self.env)
        for where, name in self.names:
            yield _tensor(owners[where], name)

    def save(self, rows: Sequence[int]) -> Tensor:
        """Numbers `[M, Q]` of scenes `rows`."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        columns = [tensor[index.to(tensor.device)].reshape(len(index), -1).double().cpu() for tensor in self._tensors()]
        return torch.cat(columns, 1) if columns else torch.zeros(len(index), 0, dtype=torch.float64)

    def restore(self, rows: Sequence[int], task: Tensor) -> None:
        """Gives scene `rows[i]` the numbers `task[i]`."""
        index, column = torch.as_tensor(rows, dtype=torch.int64), 0
        for tensor in self._tensors():
            width = tensor[0].numel()
            values = task[:, column : column + width].reshape(len(index), *tensor.shape[1:])
            tensor[index.to(tensor.device)] = values.to(tensor.device, tensor.dtype)
            column += width
