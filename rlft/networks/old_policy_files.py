"""Policies in files that do not say what to build: older ones of ours, and ManiSkill's PPO baseline.

They all hold tanh networks with hidden layers of one width, so that the names and shapes of the tensors say the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from rlft.errors import UserError
from rlft.networks.action_values import ActionValueCritic
from rlft.networks.actors import GaussianActor, encoder_length
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import ValueCritic
from rlft.types import Actor, Critic


def networks(path: Path, weights: Mapping[str, Tensor]) -> tuple[Actor, Critic | None]:
    """The actor and the critic, if there is one, of tensors by name.

    Raises:
        UserError: if they are not those of such networks.
    """
    weights = {_rlft_name(k): v.reshape(-1) if k == "actor_logstd" else v for k, v in weights.items()}
    actor = {k.removeprefix("actor."): v for k, v in weights.items() if k.startswith("actor.")}
    critic = {k.removeprefix("critic."): v for k, v in weights.items() if k.startswith("critic.")}
    try:
        actor_net = _actor(_in_parts(actor))
        return actor_net, _critic(critic, actor_net.action_dim) if critic else None  # without a critic a run saves none
    except (KeyError, IndexError, RuntimeError) as error:
        found = ", ".join(sorted(weights)[:4]) or "no tensors"
        raise UserError(
            f"{path} holds no rlft policy: without a description of its networks it should have the layers of a tanh "
            f"MLP under actor.encoder and actor.action_head (and critic.value) and actor.log_std, found {found}."
        ) from error


def _rlft_name(key: str) -> str:
    """`actor_mean.0.weight`, `actor_logstd`, `critic.0.weight` of ManiSkill's PPO in our words; others unchanged."""
    key = re.sub(r"^actor_mean\.(?=\d)", "actor.mean.", key)
    key = re.sub(r"^critic\.(?=\d)", "critic.value.", key)
    return "actor.log_std" if key == "actor_logstd" else key


def _in_parts(actor: dict[str, Tensor]) -> dict[str, Tensor]:
    """The layers under `mean`, as in ManiSkill's files and in our older ones, as those of encoder and action head."""
    in_encoder = encoder_length(len(_layers(actor, "mean")) - 1)

    def part(match: re.Match[str]) -> str:
        layer = int(match[1])
        return f"encoder.{layer}" if layer < in_encoder else f"action_head.{layer - in_encoder}"

    return {re.sub(r"^mean\.(\d+)", part, key): weight for key, weight in actor.items()}


def _actor(weights: dict[str, Tensor]) -> Actor:
    layers = [*_layers(weights, "encoder"), *_layers(weights, "action_head")]
    obs_dim, hidden_dim, action_dim = layers[0].shape[1], layers[0].shape[0], layers[-1].shape[0]
    gaussian = GaussianActor(obs_dim, action_dim, hidden_dim, len(layers) - 1)
    actor = ConditionedActor(gaussian) if "embedding" in weights else gaussian
    actor.load_state_dict(weights)
    return actor


def _critic(weights: dict[str, Tensor], action_dim: int) -> Critic:
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
