"""A rollout with its advantages as one file: safetensors, with what they are as json in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.files.tensors import read_tensors, write_tensors
from rlft.types import AdvantageEstimate, Rollout

FORMAT = "rlft-dataset-1"
WIDTHS = {"obs": "obs_dim", "next_obs": "obs_dim", "action": "action_dim"}  # of fields `[T, N, *]`; others are `[T, N]`
BOOLS = {"terminated", "truncated", "success", "mask"}


@dataclass(frozen=True)
class LabelledRollout:
    """A rollout, how good its actions were, and where both come from."""

    rollout: Rollout
    estimate: AdvantageEstimate
    info: Mapping[str, Any]  # task, sizes, seed, settings of environment and estimator, steps, metrics

    def tensors(self) -> dict[str, Tensor]:
        """Every field by name, such as `rollout.obs` and `estimate.advantage`."""
        return {
            f"{part}.{name}": getattr(getattr(self, part), name)
            for part, names in (("rollout", ROLLOUT), ("estimate", ESTIMATE))
            for name in names
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> LabelledRollout:
        """The inverse of `tensors()`; the estimate's metrics come from `info`."""
        rollout = Rollout(**{name: tensors[f"rollout.{name}"] for name in ROLLOUT})
        labels = {name: tensors[f"estimate.{name}"] for name in ESTIMATE}
        return cls(rollout, AdvantageEstimate(**labels, metrics=info["metrics"]), info)

    def to(self, device: torch.device | str) -> LabelledRollout:
        """The same on another device."""
        labels = {name: getattr(self.estimate, name).to(device) for name in ESTIMATE}
        return replace(self, rollout=self.rollout.to(device), estimate=replace(self.estimate, **labels))


ROLLOUT = tuple(field.name for field in fields(Rollout))
ESTIMATE = tuple(field.name for field in fields(AdvantageEstimate) if field.name != "metrics")


def write_dataset(path: Path, data: LabelledRollout) -> None:
    """Writes `path`, which appears complete or not at all."""
    write_tensors(path, data.tensors(), {"format": FORMAT, "info": json.dumps(dict(data.info))})


def read_dataset(path: Path) -> LabelledRollout:
    """Reads what `write_dataset` has written.

    Raises:
        UserError: if there is no such file, or it is broken or none of ours.
    """
    if not path.is_file():
        raise UserError(f"data.dataset {path} is no file.")
    tensors, header = read_tensors(path, "data.dataset")
    try:
        info = json.loads(header["info"])
        sizes = {name: int(info[name]) for name in ("num_steps", "num_envs", "obs_dim", "action_dim")}
        known = header["format"] == FORMAT and {"metrics", "task", "env_steps", "sim_steps"} <= set(info)
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise UserError(f"data.dataset {path} is no dataset that an rlft run has written ({FORMAT}).")
    _check(path, tensors, sizes)
    return LabelledRollout.of_tensors(tensors, info)


def _check(path: Path, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> None:
    """Refuses tensors that are not what the header promises, and numbers that would spoil the weights."""
    names = {f"rollout.{name}" for name in ROLLOUT} | {f"estimate.{name}" for name in ESTIMATE}
    if tensors.keys() != names:
        wrong = ", ".join(sorted(tensors.keys() ^ names))
        raise UserError(f"data.dataset {path} has missing or unknown entries: {wrong}.")
    shape = [sizes["num_steps"], sizes["num_envs"]]
    for key, tensor in tensors.items():
        name = key.split(".")[1]
        expected = [*shape, sizes[WIDTHS[name]]] if name in WIDTHS else shape
        kind = "bool" if name in BOOLS else "int64" if name == "elapsed" else "float"
        if list(tensor.shape) != expected or not str(tensor.dtype).startswith(f"torch.{kind}"):
            found = f"{tensor.dtype} {list(tensor.shape)}"
            raise UserError(f"data.dataset {path}: {key} is {found}, not {kind} {expected}.")
    mask = tensors["estimate.mask"]
    if not mask.any():
        raise UserError(f"data.dataset {path} holds no transition with an advantage.")
    for key, tensor in tensors.items():
        used = tensor[mask] if key.startswith("estimate.") else tensor  # nothing is promised outside the mask
        if not bool(used.isfinite().all()):
            raise UserError(f"data.dataset {path}: {key} holds numbers that are not finite.")
