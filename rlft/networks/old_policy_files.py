"""Policies in older files of ours, which do not say what to build.

They all hold tanh networks with hidden layers of one width, so that the names and shapes of the tensors say the rest. A
newer one whose json is lost has the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from rlft.errors import UserError
from rlft.networks.action_values import ActionValueCritic
from rlft.networks.actors import GaussianActor, place_in_parts
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import ValueCritic
from rlft.networks.foreign import Hints
from rlft.networks.foreign.contents import LIGHTNING
from rlft.types import Actor, Critic

OURS = re.compile(r"actor\.(encoder|action_head|mean)\.\d+\.(weight|bias)|actor\.log_std")


def are_ours(names: Iterable[str]) -> bool:
    """Whether tensors of these names are of an actor of ours."""
    return any(OURS.fullmatch(name) for name in names)


def networks(weights: Mapping[str, Tensor], hints: Hints) -> tuple[Actor, Critic | None]:
    """The actor and the critic, if there is one, of tensors by name.

    Raises:
        UserError: if they are not those of such networks. Says it of "it", the file.
    """
    actor, critic = actor_and_critic(weights)
    if hints.log_std is not None:
        raise UserError(f"it has actor.log_std, and {hints.beside} says another log_std; leave that out.")
    try:
        actor_net = _actor(_in_parts(actor), hints)
        return actor_net, _critic(critic, actor_net.action_dim, hints) if critic else None
    except (KeyError, IndexError, RuntimeError) as error:
        found = ", ".join(f"{name} {list(weights[name].shape)}" for name in sorted(weights)[:4])
        raise UserError(
            "without a description of its networks it should have the layers of an MLP under actor.encoder and "
            f"actor.action_head (and critic.value) and actor.log_std, found {found}."
        ) from error


def assumed(content: object, hints: Hints) -> tuple[str, ...]:
    """What has to be said of the networks of a file that holds this."""
    is_checkpoint = isinstance(content, Mapping) and LIGHTNING in content
    if hints.activation is not None or is_checkpoint or hints.beside.is_file():
        return ()  # checkpoints of ours and a json that do not say it are of a time without another activation
    return (
        f"It is read with tanh after every hidden layer, as older files of rlft have it; {hints.beside} is missing.",
    )


def actor_and_critic(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of both by their own names.

    Raises:
        UserError: if there are others. Says it of "it", the file.
    """
    if others := [name for name in weights if not name.startswith(("actor.", "critic."))]:
        raise UserError(f"its tensor {min(others)} is of neither actor nor critic.")
    actor, critic = (
        {key.removeprefix(f"{part}."): v for key, v in weights.items() if key.startswith(f"{part}.")}
        for part in ("actor", "critic")
    )
    return actor, critic


def _in_parts(actor: dict[str, Tensor]) -> dict[str, Tensor]:
    """The layers under `mean`, as in ManiSkill's files and in our older ones, as those of encoder and action head."""
    hidden = len(_layers(actor, "mean")) - 1
    return {
        re.sub(r"^mean\.(\d+)", lambda match: place_in_parts(int(match[1]), hidden), key): weight
        for key, weight in actor.items()
    }


def _actor(weights: dict[str, Tensor], hints: Hints) -> Actor:
    layers = [*_layers(weights, "encoder"), *_layers(weights, "action_head")]
    obs_dim, hidden_dim, action_dim = layers[0].shape[1], layers[0].shape[0], layers[-1].shape[0]
    dims, activation = _hidden_dims(layers, hints), hints.activation or "tanh"
    gaussian = GaussianActor(obs_dim, action_dim, hidden_dim, len(layers) - 1, hidden_dims=dims, activation=activation)
    actor = ConditionedActor(gaussian) if "embedding" in weights else gaussian
    actor.load_state_dict(weights)
    return actor


def _critic(weights: dict[str, Tensor], action_dim: int, hints: Hints) -> Critic:
    layers = _layers(weights, "value")
    dims, activation = _hidden_dims(layers, hints), hints.activation or "tanh"
    value = ValueCritic(layers[0].shape[1], layers[0].shape[0], len(layers) - 1, dims, activation)
    num_q = len({key.split(".")[1] for key in weights if key.startswith("q.")})
    critic = ActionValueCritic(value, action_dim, num_q) if num_q else value
    critic.load_state_dict(weights)
    return critic


def _hidden_dims(layers: list[Tensor], hints: Hints) -> tuple[int, ...] | None:
    """The widths of hidden layers if they are not all the same, which no file without a description has been given."""
    widths = tuple(len(layer) for layer in layers[:-1])
    if len(set(widths)) < 2:
        return None
    if hints.activation is None:
        raise UserError(
            f"its hidden layers are {', '.join(map(str, widths))} wide, and a json that says their activation was "
            f'written with it; put {hints.beside} back, or write the right one into it, as {{"activation": "tanh"}}.'
        )
    return widths


def _layers(weights: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """The weight matrices of an MLP, first to last."""
    found = [(int(m[1]), v) for k, v in weights.items() if (m := re.fullmatch(rf"{prefix}\.(\d+)\.weight", k))]
    return [v for _, v in sorted(found, key=lambda item: item[0])]
