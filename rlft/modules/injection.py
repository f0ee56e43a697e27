"""Weights of another policy for a part of the actor that a run starts with; a part is taken whole or not at all.

Only the actor: its critic is a value of something, which `critic_policy` checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.networks.encoders import ConvEncoder
from rlft.networks.policy_checks import check_shapes
from rlft.networks.policy_files import load_policy
from rlft.types import Actor

Inject = Literal["none", "encoder", "action_head", "both", "advantage", "encoder+advantage", "image", "full"]
PARTS: dict[str, tuple[str, ...]] = {
    "encoder": ("encoder",),
    "action_head": ("action_head",),
    "both": ("encoder", "action_head"),
    "advantage": ("advantage",),
    "encoder+advantage": ("encoder", "advantage"),
    "image": ("encoder.image",),
}  # `full` is everything that either side has


def inject_part(actor: Actor, inject_from: str | None, mode: Inject) -> list[str]:
    """Copies a part of the policy `inject_from` into `actor`, which is not touched unless all of the part fits.

    Args:
        actor: receives the weights.
        inject_from: zoo policy, policy file or checkpoint.
        mode: the part: `both` are encoder and action head, `full` is the whole actor with its log standard deviation;
            `advantage` is the head of an actor that chooses, `image` the part of its encoder that looks at pictures.

    Returns:
        What a report should say of it; nothing if `mode` is `none`.

    Raises:
        UserError: if a tensor of the part is missing on one side or has another shape there, if pictures are normalised
            otherwise there, if there is no such policy, or if only one of `inject_from` and `mode` is given.
    """
    check_source(inject_from, mode)
    if inject_from is None:
        return []
    policy = load_policy(inject_from)
    ours, theirs = actor.state_dict(), policy.actor.state_dict()
    parts = PARTS.get(mode) or tuple(dict.fromkeys(name.partition(".")[0] for name in (*ours, *theirs)))
    for part in parts:
        _refuse_misfit(part, ours, theirs, f"model.inject {mode}", inject_from)
        _refuse_other_pixels(part, actor, policy.actor, f"model.inject {mode}", inject_from)
    injected = [name for name in ours if _within(name, parts)]
    with torch.no_grad():
        for name in injected:
            ours[name].copy_(theirs[name])  # `state_dict` shares memory with the actor
    critic = {} if policy.critic is None else {f"critic.{k}": v for k, v in policy.critic.state_dict().items()}
    unused = {name: tensor for name, tensor in theirs.items() if name not in injected} | critic
    left = {name: tensor for name, tensor in ours.items() if name not in injected}
    return [
        f"Injected from {inject_from}: {_counted({name: ours[name] for name in injected})}. "
        f"Left as it was: {_counted(left)}. Not used of the file: {_counted(unused)}."
    ]


def check_source(inject_from: str | None, mode: Inject) -> None:
    """Refuses a part without a policy that gives it, and the other way round.

    Raises:
        UserError: if one is missing.
    """
    if mode == "none" and inject_from is not None:
        raise UserError(
            f"model.inject_from {inject_from!r} is of no use without model.inject: "
            f"choose {', '.join(mode for mode in PARTS)} or full."
        )
    if mode != "none" and inject_from is None:
        raise UserError(f"model.inject {mode} needs model.inject_from: a zoo policy, a policy file or a checkpoint.")


def start_actor(name: str | None, build: Callable[[int, int], Actor], obs_dim: int, action_dim: int) -> Actor:
    """The actor of a policy, which has to be made for these dimensions, or a new one if there is no policy."""
    if name is None:
        return build(obs_dim, action_dim)
    policy = load_policy(name)
    check_shapes(policy, obs_dim, action_dim, "choose a policy of this task, or start anew with model.policy null")
    return policy.actor


def start_name(policy: str | None, inject_from: str | None, mode: Inject) -> str | None:
    """What to call the policy that a run starts with: who compares it with another must not take the two for one."""
    if mode == "none":
        return policy
    if mode == "full":
        return inject_from
    return f"{policy or 'scratch'} with {' and '.join(PARTS[mode])} of {inject_from}"


def _refuse_misfit(
    part: str, ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], setting: str, source: str
) -> None:
    names = [name for name in (*ours, *theirs) if _within(name, [part])]
    if not names:
        raise UserError(f"{setting}: neither this actor nor {source!r} has a part {part!r}.")
    for name in names:
        if name not in theirs:
            raise UserError(f"{setting}: {source!r} has no tensor {name}, which this actor's {part} has.")
        if name not in ours:
            raise UserError(f"{setting}: this actor has no tensor {name}, which the {part} of {source!r} has.")
        if ours[name].shape != theirs[name].shape:
            raise UserError(
                f"{setting}: {name} is {list(theirs[name].shape)} in {source!r} and {list(ours[name].shape)} in this "
                "actor; a part is injected whole, so both need the same sizes."
            )


def _refuse_other_pixels(part: str, ours: Actor, theirs: Actor, setting: str, source: str) -> None:
    """A network that has learned of pixels from -1 to 1 sees something else in pixels from 0 to 1."""
    others = dict(theirs.named_modules())
    for name, module in ours.named_modules():
        other = others.get(name)
        if not (_within(name, [part]) and isinstance(module, ConvEncoder) and isinstance(other, ConvEncoder)):
            continue
        if module.pixels != other.pixels:
            raise UserError(
                f"{setting}: the {name} of {source!r} was trained with pixels {list(other.pixels)} and this actor has "
                f"{list(module.pixels)}; set model.actor.pixels {list(other.pixels)}."
            )


def _within(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _counted(tensors: Mapping[str, Tensor]) -> str:
    """`encoder (4 tensors, 76,544 numbers), log_std (1 tensor, 4 numbers)`."""
    parts: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        parts.setdefault(name.partition(".")[0], []).append(tensor.numel())
    counts = (
        f"{part} ({len(sizes)} tensor{'s' * (len(sizes) > 1)}, {sum(sizes):,} number{'s' * (sum(sizes) > 1)})"
        for part, sizes in parts.items()
    )
    return ", ".join(counts) or "nothing"
