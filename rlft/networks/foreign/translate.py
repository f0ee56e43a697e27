"""A policy of another library as networks of ours: a description and tensors by our names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.networks.actors import GaussianActor, place_in_parts
from rlft.networks.critics import ValueCritic
from rlft.networks.foreign.hints import Hints
from rlft.networks.foreign.layouts import Layer, Layout, layers, layout_of
from rlft.networks.foreign.normalisers import OF_ACTOR, OF_CRITIC, Normaliser, normaliser
from rlft.networks.foreign.strangers import stranger, without_policy


@dataclass(frozen=True)
class Translation:
    """What to build, its weights, and what has to be said of it."""

    networks: dict[str, Any]
    weights: dict[str, Tensor]  # float32
    notes: tuple[str, ...]


def translate(tensors: Mapping[str, Tensor], content: object, hints: Hints) -> Translation:
    """Reads the tensors of a file as the policy of the library whose names they have.

    Args:
        tensors: of the file.
        content: what it holds as it is there, for messages.
        hints: what the tensors cannot tell.

    Raises:
        UserError: if they are none, or do not determine a policy. Says it of "it", the file.
    """
    layout = _layout(tensors, content)
    actor, critic = layers(layout.actor, tensors), layers(layout.critic, tensors)
    of_actor, of_critic = normaliser(OF_ACTOR, tensors), normaliser(OF_CRITIC, tensors)
    _refuse_unread(layout, tensors, [*actor, *critic], [n for n in (of_actor, of_critic) if n])
    hints = _complete(layout, tensors, hints)
    log_std = _log_std(layout, tensors, hints, actor[-1])
    critic, notes = _seeing_the_same(actor, critic)
    networks, weights = _in_our_words(_folded(actor, of_actor), _folded(critic, of_critic), log_std, hints)
    return Translation(networks, weights, (_note(layout, hints, of_actor), *notes))


def _layout(tensors: Mapping[str, Tensor], content: object) -> Layout:
    if what := stranger(tensors):
        raise UserError(f"{what}.")
    if (layout := layout_of(tensors)) is None:
        raise UserError(f"{without_policy(content, tensors)}.")
    return layout


def _refuse_unread(
    layout: Layout, tensors: Mapping[str, Tensor], ours: Iterable[Layer], normalisers: Iterable[Normaliser]
) -> None:
    """Nothing is left out in silence: a tensor that nobody reads may be part of how the policy acts."""
    read = {f"{layer.name}.{which}" for layer in ours for which in ("weight", "bias")}
    read |= {layout.log_std or "", layout.std or ""}.union(*(n.tensors for n in normalisers))
    if unread := sorted(tensors.keys() - read):
        more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
        raise UserError(
            f"it has the layers of {layout.whose}, and beside them {', '.join(unread[:3])}{more}, whose meaning is not "
            "known; if the policy acts without, save it without."
        )
    if odd := [name for name in read & tensors.keys() if not _is_real(name, tensors[name])]:
        raise UserError(f"its tensor {min(odd)} is {tensors[min(odd)].dtype}, not of floating-point numbers.")


def _is_real(name: str, tensor: Tensor) -> bool:
    return tensor.is_floating_point() or name.endswith(".count")


def _complete(layout: Layout, tensors: Mapping[str, Tensor], hints: Hints) -> Hints:
    """What is known of the activation and the deviation, all in all."""
    found = [name for name in (layout.log_std, layout.std) if name in tensors]
    if len(found) + (hints.log_std is not None) > 1:
        raise UserError(
            f"its deviation is given more than once: {', '.join(map(str, found))}, log_std in {hints.beside}."
        )
    missing: dict[str, Any] = {}
    if (activation := hints.activation or layout.activation) is None:
        missing["activation"] = "elu"
    if not found and hints.log_std is None:
        missing["log_std"] = -0.5
    if missing:
        raise UserError(
            f"it has the layers of {layout.whose}, but nothing says its {' and '.join(missing)}; if you know, write it "
            f"into {hints.beside}, such as {json.dumps(missing)}."
        )
    return Hints(hints.beside, activation, hints.log_std)


def _log_std(layout: Layout, tensors: Mapping[str, Tensor], hints: Hints, last: Layer) -> Tensor:
    """Of every action dimension, `[A]`."""
    size = len(last.bias)
    if hints.log_std is not None:
        return torch.full((size,), hints.log_std)
    name = layout.log_std if layout.log_std in tensors else layout.std
    found = tensors[str(name)]
    if found.shape not in ((size,), (1, size)):
        raise UserError(
            f"its {name} is {list(found.shape)}, and {last.name} gives {size} actions; rlft has policies with one "
            "deviation per action, the same for every observation."
        )
    values = found.reshape(-1)
    if name == layout.log_std:
        return values
    if not bool((values > 0).all()):
        raise UserError(f"its {name} holds standard deviations that are not positive.")
    return values.double().log()


def _seeing_the_same(actor: list[Layer], critic: list[Layer]) -> tuple[list[Layer], list[str]]:
    """The critic, if it is one of the actor's observations."""
    if not critic:
        return [], []
    if (size := len(critic[-1].bias)) != 1:
        raise UserError(f"its critic's {critic[-1].name} gives {size} numbers, not one value.")
    theirs, ours = critic[0].weight.shape[1], actor[0].weight.shape[1]
    if theirs != ours:
        return [], [f"Its critic is left out, which sees {theirs} numbers where the actor sees {ours}."]
    return critic, []


def _folded(found: list[Layer], of_observations: Normaliser | None) -> list[Layer]:
    if not found or of_observations is None:
        return found
    return [of_observations.fold(found[0]), *found[1:]]


def _in_our_words(
    actor: Sequence[Layer], critic: Sequence[Layer], log_std: Tensor, hints: Hints
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    networks = {"actor": _described(GaussianActor, actor, hints), "critic": None}
    if critic:
        networks["critic"] = _described(ValueCritic, critic, hints)
    weights = {"actor.log_std": log_std}
    for number, layer in enumerate(actor):
        part = place_in_parts(2 * number, len(actor) - 1)  # among layers and activations
        weights |= {f"actor.{part}.weight": layer.weight, f"actor.{part}.bias": layer.bias}
    for number, layer in enumerate(critic):
        weights |= {f"critic.value.{2 * number}.{w}": t for w, t in (("weight", layer.weight), ("bias", layer.bias))}
    return networks, {name: tensor.to(torch.float32).contiguous() for name, tensor in weights.items()}


def _described(network: type[GaussianActor | ValueCritic], found: Sequence[Layer], hints: Hints) -> dict[str, Any]:
    """As `describe` says it."""
    sizes = {"obs_dim": found[0].weight.shape[1]}
    if network is GaussianActor:
        sizes["action_dim"] = len(found[-1].bias)
    widths = [len(layer.bias) for layer in found[:-1]]
    if not widths:
        raise UserError(f"its {found[-1].name} is all there is; rlft has networks with at least one hidden layer.")
    same = {"hidden_dim": widths[0], "num_layers": len(widths)}
    shape = same if len(set(widths)) == 1 else {"hidden_dims": widths}
    return {
        "class_path": f"rlft.networks.{network.__name__}",
        "init_args": {**sizes, **shape, "activation": hints.activation},
    }


def _note(layout: Layout, hints: Hints, of_actor: Normaliser | None) -> str:
    if of_actor is None:
        around = f"; {layout.unknown}" if layout.unknown else ""
    else:
        around = f", with its {of_actor.name} before the first as {of_actor.formula} without clipping"
    return (
        f"It is read as a policy of {layout.whose}: {hints.activation} after every hidden layer, nothing after the "
        f"last{around}."
    )
