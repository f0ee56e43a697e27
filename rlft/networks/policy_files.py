"""Policies as files: weights in safetensors, everything else in a json beside them. Nothing is ever unpickled.

A policy is named by a zoo name (`pickcube/weak`), by the path of its `.safetensors` file, or by the path of a
checkpoint: rlft's own `.ckpt`, or a state dict of ManiSkill's PPO baseline (`.pt` with `actor_mean.*`, `actor_logstd`,
`critic.*`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.files.tensors import read_tensors, read_torch, write_tensors
from rlft.networks import ActionValueCritic, ConditionedActor, GaussianActor, ValueCritic
from rlft.networks.actors import encoder_length
from rlft.types import Actor, Critic

ZOO = Path(__file__).parents[1] / "zoo"
FORMAT = "rlft-policy-1"


@dataclass(frozen=True)
class Policy:
    """An actor, maybe its critic, and where they come from."""

    name: str
    actor: Actor
    critic: Critic | None
    info: dict[str, Any] = field(default_factory=dict)  # task, control mode, provenance, measured success


def save_policy(path: Path, actor: Actor, critic: Critic | None, info: Mapping[str, Any]) -> None:
    """Writes `path` (`.safetensors`) and the `.json` beside it; each appears complete or not at all."""
    weights = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    if critic is not None:
        weights |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    write_tensors(path, weights, {"format": FORMAT})
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **info}, indent=2) + "\n")


def load_policy(name: str) -> Policy:
    """Loads a policy by zoo name or path; see the module's docstring.

    Raises:
        UserError: if there is no such policy, or the file is not one.
    """
    path = policy_path(name)
    if path.suffix == ".safetensors":
        weights, _ = read_tensors(path, "Policy file")
        info = _read_info(path.with_suffix(".json"))
    else:
        weights, info = _read_checkpoint(path), {}
    return _build(name, path, weights, info)


def zoo_names() -> list[str]:
    """The names of all policies that come with rlft."""
    return sorted(p.relative_to(ZOO).with_suffix("").as_posix() for p in ZOO.glob("*/*.safetensors"))


def check_shapes(policy: Policy, obs_dim: int, action_dim: int) -> None:
    """Refuses a policy that was made for another task.

    Raises:
        UserError: if the observation or action dimensions differ.
    """
    weights = policy.actor.state_dict()
    shape = (weights["encoder.0.weight"].shape[1], weights["log_std"].shape[0])
    if shape != (obs_dim, action_dim):
        raise UserError(
            f"Policy {policy.name} maps {shape[0]} observations to {shape[1]} actions, "
            f"but the task has {obs_dim} observations and {action_dim} actions; choose a policy of this task."
        )


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
    except (ValueError, OSError) as error:
        raise UserError(f"{path}, which describes a policy, is not valid json: {error}.") from error
    if not isinstance(info, dict):
        raise UserError(f"{path}, which describes a policy, must hold a json object.")
    return info


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    content = read_torch(path, "Policy file")
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    weights = {str(k): v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    return {_rlft_name(k): v.reshape(-1) if k == "actor_logstd" else v for k, v in weights.items()}


def _rlft_name(key: str) -> str:
    """`actor_mean.0.weight`, `actor_logstd`, `critic.0.weight` of ManiSkill's PPO in our words; others unchanged."""
    key = re.sub(r"^actor_mean\.(?=\d)", "actor.mean.", key)
    key = re.sub(r"^critic\.(?=\d)", "critic.value.", key)
    return "actor.log_std" if key == "actor_logstd" else key


def _build(name: str, path: Path, weights: dict[str, Tensor], info: dict[str, Any]) -> Policy:
    actor = {k.removeprefix("actor."): v for k, v in weights.items() if k.startswith("actor.")}
    critic = {k.removeprefix("critic."): v for k, v in weights.items() if k.startswith("critic.")}
    try:
        actor = _in_parts(actor)
        layers = [*_layers(actor, "encoder"), *_layers(actor, "action_head")]
        obs_dim, hidden_dim, action_dim = layers[0].shape[1], layers[0].shape[0], layers[-1].shape[0]
        gaussian = GaussianActor(obs_dim, action_dim, hidden_dim, len(layers) - 1)
        actor_net = ConditionedActor(gaussian) if "embedding" in actor else gaussian
        actor_net.load_state_dict(actor)
        critic_net = _build_critic(critic, action_dim) if critic else None  # a run without a critic saves none
    except (KeyError, IndexError, RuntimeError) as error:
        found = ", ".join(sorted(weights)[:4]) or "no tensors"
        raise UserError(
            f"{path} holds no rlft policy: expected the layers of a tanh MLP under actor.encoder and "
            f"actor.action_head (and critic.value) and actor.log_std, found {found}."
        ) from error
    if not all(bool(v.isfinite().all()) for v in weights.values()):
        raise UserError(f"{path} holds weights that are not finite numbers; the policy is unusable.")
    return Policy(name, actor_net, critic_net, info)


def _in_parts(actor: dict[str, Tensor]) -> dict[str, Tensor]:
    """The layers under `mean`, as in ManiSkill's files and in our older ones, as those of encoder and action head."""
    in_encoder = encoder_length(len(_layers(actor, "mean")) - 1)

    def part(match: re.Match[str]) -> str:
        layer = int(match[1])
        return f"encoder.{layer}" if layer < in_encoder else f"action_head.{layer - in_encoder}"

    return {re.sub(r"^mean\.(\d+)", part, key): weight for key, weight in actor.items()}


def _build_critic(weights: dict[str, Tensor], action_dim: int) -> Critic:
    layers = _layers(weights, "value")
    value = ValueCritic(layers[0].shape[1], layers[0].shape[0], len(layers) - 1)
    num_q = len({key.split(".")[1] for key in weights if key.startswith("q.")})
    critic = ActionValueCritic(value, action_dim, num_q) if num_q else value
    critic.load_state_dict(weights)
    return critic


def _layers(weights: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """The weight matrices of an MLP, first to last."""
    found = [(int(m[1]), v) for k, v in weights.items() if (m := re.fullmatch(rf"{prefix}\.(\d+)\.weight", k))]
    return [v for _, v in sorted(found, key=lambda item: item[0])]
