"""A rollout and its advantages as one file: safetensors, with what they are as json in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlft.data import frame_files
from rlft.errors import UserError
from rlft.files.rows import entries_of, rows_of, with_log_prob_known
from rlft.files.tensors import read_tensors, write_tensors
from rlft.types import AdvantageEstimate, Rollout

FORMAT = "rlft-dataset-1"
WIDTHS = {"obs": "obs_dim", "next_obs": "obs_dim", "action": "action_dim"}  # of fields `[T, N, *]`; others are `[T, N]`
BOOLS = {"log_prob_known", "terminated", "truncated", "success", "mask"}
UNLABELLED = "NoAdvantage"  # the estimator that earlier versions named where nothing had been measured


@dataclass(frozen=True)
class Dataset:
    """A rollout, how good its actions were, and where both come from."""

    rollout: Rollout
    labels: AdvantageEstimate | None  # `None` if nothing has been measured
    info: Mapping[str, Any]  # task, sizes, seed, settings of environment and estimator, steps, metrics

    def tensors(self) -> dict[str, Tensor]:
        """Every field by name, such as `rollout.obs` and `estimate.advantage`."""
        entries = entries_of(self.rollout)
        tensors = {f"rollout.{name}": entries[name] for name in ROLLOUT} | frame_files.packed(self.rollout)
        if self.labels is None:
            return tensors
        return tensors | {f"estimate.{name}": getattr(self.labels, name) for name in ESTIMATE}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> Dataset:
        """The inverse of `tensors()`, also of earlier versions; the estimate's metrics come from `info`."""
        tensors = with_log_prob_known(tensors, "rollout.")
        rollout = rows_of(Rollout, {name: tensors[f"rollout.{name}"] for name in ROLLOUT})
        rollout = frame_files.with_pictures(rollout, tensors)
        if info.get("advantage.class") == UNLABELLED:
            return cls(rollout, None, {name: value for name, value in info.items() if name != "advantage.class"})
        if not any(f"estimate.{name}" in tensors for name in ESTIMATE):
            return cls(rollout, None, info)
        labels = {name: tensors[f"estimate.{name}"] for name in ESTIMATE}
        return cls(rollout, AdvantageEstimate(**labels, metrics=info["metrics"]), info)

    def to(self, device: torch.device | str) -> Dataset:
        """The same on another device."""
        labels = self.labels
        if labels is not None:
            labels = replace(labels, **{name: getattr(labels, name).to(device) for name in ESTIMATE})
        return replace(self, rollout=self.rollout.to(device), labels=labels)


ROLLOUT = tuple(field.name for field in fields(Rollout) if field.name != "info")  # nothing is learned from that
ESTIMATE = tuple(field.name for field in fields(AdvantageEstimate) if field.name != "metrics")


def write_dataset(path: Path, data: Dataset) -> None:
    """Writes `path`, which appears complete or not at all."""
    write_tensors(path, data.tensors(), {"format": FORMAT, "info": json.dumps(dict(data.info))})


def read_dataset(path: Path) -> Dataset:
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
    tensors = with_log_prob_known(tensors, "rollout.")
    _check(path, tensors, sizes, labelled="advantage.class" in info)
    return Dataset.of_tensors(tensors, info)


def _check(path: Path, tensors: Mapping[str, Tensor], sizes: Mapping[str, int], *, labelled: bool) -> None:
    """Refuses tensors that are not what the header promises, and numbers that would spoil the weights."""
    pictures = {name for name in frame_files.ENTRIES if name in tensors}
    tensors = {name: tensor for name, tensor in tensors.items() if name not in pictures}
    names = {f"rollout.{name}" for name in ROLLOUT}
    if labelled:
        names |= {f"estimate.{name}" for name in ESTIMATE}
    if tensors.keys() != names:
        wrong = ", ".join(sorted(tensors.keys() ^ names))
        raise UserError(f"data.dataset {path} has missing or unknown entries: {wrong}.")
    shape = [sizes["num_steps"], sizes["num_envs"]]
    for key, tensor in tensors.items():
        name = key.split(".")[1]
        expected = [*shape, sizes[WIDTHS[name]]] if name in WIDTHS else shape
        is_choice = name == "action" and not tensor.is_floating_point()
        kind = "bool" if name in BOOLS else "int64" if name == "elapsed" or is_choice else "float"
        if list(tensor.shape) != expected or not str(tensor.dtype).startswith(f"torch.{kind}"):
            found = f"{tensor.dtype} {list(tensor.shape)}"
            raise UserError(f"data.dataset {path}: {key} is {found}, not {kind} {expected}.")
    mask = tensors.get("estimate.mask")
    if mask is not None and not mask.any():
        raise UserError(f"data.dataset {path} holds no transition with an advantage.")
    for key, tensor in tensors.items():
        used = (
            tensor if mask is None or key.startswith("rollout.") else tensor[mask]
        )  # nothing is promised outside the mask
        if not bool(used.isfinite().all()):
            raise UserError(f"data.dataset {path}: {key} holds numbers that are not finite.")
