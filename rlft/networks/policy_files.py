"""Policies as files: weights in safetensors, everything else in a json beside them. Nothing is ever unpickled.

A policy is named by a zoo name (`pickcube/weak`), by the path of its `.safetensors` file, or by the path of a
checkpoint: rlft's own `.ckpt`, or a state dict of ManiSkill's PPO baseline (`.pt` with `actor_mean.*`, `actor_logstd`,
`critic.*`).

The json, and a checkpoint, say under `networks` which classes of actor and critic to build, and with which arguments.
Reading a policy imports the modules of these classes and calls their constructors: code that is installed here, which
the file can only choose. Files that do not say it are older, or ManiSkill's: see `old_policy_files`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.files.tensors import read_tensors, read_torch, write_tensors
from rlft.networks import NoCritic, old_policy_files
from rlft.networks.descriptions import build, describe, shapes
from rlft.types import Actor, Critic, Network

ZOO = Path(__file__).parents[1] / "zoo"
FORMAT = "rlft-policy-1"
MADE_FOR = "made_for"  # entry of a checkpoint: the environment, as a policy's json says it
NETWORKS = "networks"  # where a file says what to build
N = TypeVar("N", bound=Network)


@dataclass(frozen=True)
class Policy:
    """An actor, maybe its critic, and where they come from."""

    name: str
    actor: Actor
    critic: Critic | None
    info: dict[str, Any] = field(default_factory=dict)  # task, control mode, provenance, measured success


def save_policy(path: Path, actor: Actor, critic: Critic | None, info: Mapping[str, Any]) -> None:
    """Writes `path` (`.safetensors`) and the `.json` beside it; each appears complete or not at all.

    Raises:
        UserError: if a network cannot be described, or the files cannot be written.
    """
    content = {"format": FORMAT, **info, NETWORKS: describe_networks(actor, critic)}
    weights = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    if critic is not None:
        weights |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    write_tensors(path, weights, {"format": FORMAT})
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def describe_networks(actor: Actor, critic: Critic | None) -> dict[str, Any]:
    """How to build both again; `null` for no critic.

    Raises:
        UserError: if one of them cannot be described.
    """
    none = critic is None or isinstance(critic, NoCritic)
    return {"actor": describe(actor), "critic": None if critic is None or none else describe(critic)}


def load_policy(name: str) -> Policy:
    """Loads a policy by zoo name or path; see the module's docstring.

    Raises:
        UserError: if there is no such policy, or the file is not one.
    """
    path = policy_path(name)
    if path.suffix == ".safetensors":
        weights, _ = read_tensors(path, "Policy file")
        info = _read_info(path.with_suffix(".json"))
        networks = info.pop(NETWORKS, None)
    else:
        weights, networks, info = _read_checkpoint(path)
    actor, critic = old_policy_files.networks(path, weights) if networks is None else _built(path, weights, networks)
    if not all(bool(v.isfinite().all()) for v in weights.values()):
        raise UserError(f"{path} holds weights that are not finite numbers; the policy is unusable.")
    return Policy(name, actor, critic, info)


def zoo_names() -> list[str]:
    """The names of all policies that come with rlft."""
    return sorted(p.relative_to(ZOO).with_suffix("").as_posix() for p in ZOO.glob("*/*.safetensors"))


def policy_path(name: str) -> Path:
    """The file of a policy.

    Raises:
        UserError: if there is no such policy.
    """
    in_zoo = ZOO / f"{name}.safetensors"
    if in_zoo.is_file() and in_zoo.resolve().is_relative_to(ZOO.resolve()):
        return in_zoo
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise UserError(f"No policy {name!r}: it is neither a file nor one of the zoo's ({', '.join(zoo_names())}).")


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path}, which describes a policy, is not valid json: {error}.") from error
    if not isinstance(info, dict):
        raise UserError(f"{path}, which describes a policy, must hold a json object.")
    return info


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Any, dict[str, Any]]:
    """Tensors by name, and what the file says to build and what for, if it does."""
    content = read_torch(path, "Policy file")
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    weights = {str(k): v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    if not isinstance(content, dict):
        return weights, None, {}
    return weights, content.get(NETWORKS), dict(content.get(MADE_FOR) or {})


def _built(path: Path, weights: Mapping[str, Tensor], networks: Any) -> tuple[Actor, Critic | None]:
    """What a file describes, with its weights."""
    if not (isinstance(networks, Mapping) and networks.keys() == {"actor", "critic"}):
        raise UserError(f"{path} holds no rlft policy: its {NETWORKS} do not say what actor and critic are.")
    try:
        # In this order: initial weights are drawn, and those that a run draws later are to be the same.
        actor = _with_weights(_part(weights, "actor"), networks["actor"], Actor)
        if networks["critic"] is not None:
            return actor, _with_weights(_part(weights, "critic"), networks["critic"], Critic)
        _refuse_misfit(_part(weights, "critic"), {})
    except UserError as error:
        raise UserError(f"{path} holds no rlft policy: {error}") from error
    return actor, None


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}


def _with_weights(weights: Mapping[str, Tensor], description: Any, base: type[N]) -> N:
    """One network; sizes that there are no numbers for are noticed before they take memory."""
    if (expected := shapes(description, base)) is not None:
        _refuse_misfit(weights, expected)
    network = build(description, base)
    _refuse_misfit(weights, {name: tensor.shape for name, tensor in network.state_dict().items()})
    network.load_state_dict(weights)
    return network


def _refuse_misfit(weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    found = {name: tensor.shape for name, tensor in weights.items()}
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            said = [str(list(of[name])) if name in of else "missing" for of in (found, expected)]
            raise UserError(f"its tensor {name} is {said[0]}, and {said[1]} in the {NETWORKS} that it describes.")
