"""How other libraries name the tensors of Gaussian policies, and what else is known of these files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from rlft.errors import UserError
from rlft.networks.mlp import Activation


@dataclass(frozen=True)
class Layout:
    """Whose names, and what they mean. `x.#` are the layers `x.0`, `x.2`, ... of a Sequential with activations."""

    whose: str
    actor: tuple[str, ...]  # the layers of the mean, first to last
    critic: tuple[str, ...]
    log_std: str | None = None
    std: str | None = None
    activation: Activation | None = None  # where the published code has no other; else it has to be said
    unknown: str = ""  # what may have been around the network, which such a file cannot tell


@dataclass(frozen=True)
class Layer:
    """A linear layer, and what the file calls it."""

    name: str
    weight: Tensor  # [out, in]
    bias: Tensor  # [out]


LAYOUTS = (
    Layout(
        "ManiSkill's or CleanRL's PPO",
        actor=("actor_mean.#",),
        critic=("critic.#",),
        log_std="actor_logstd",
        activation="tanh",
        unknown="statistics of gymnasium's NormalizeObservation, which CleanRL's scripts use and ManiSkill's do not, "
        "would not be in the file",
    ),
    Layout(
        "Stable-Baselines3's PPO or A2C",
        actor=("mlp_extractor.policy_net.#", "action_net"),
        critic=("mlp_extractor.value_net.#", "value_net"),
        log_std="log_std",
        unknown="statistics of a VecNormalize would be in a file of their own, which is not read",
    ),
    Layout("rsl_rl's PPO", actor=("actor.#",), critic=("critic.#",), log_std="log_std", std="std"),
    Layout(
        "rsl_rl's PPO",
        actor=("actor.mlp.#",),
        critic=("critic.mlp.#",),
        log_std="actor.distribution.log_std_param",
        std="actor.distribution.std_param",
    ),
    Layout(
        "behaviour cloning (ManiSkill's has relu)",
        actor=("actor.net.#",),
        critic=(),
        unknown="the mean and the deviation of ManiSkill's normalize_states would not be in the file",
    ),
)


def layout_of(names: Collection[str]) -> Layout | None:
    """The layout that tensors of these names are in, if it is a known one."""
    firsts = ((layout, layout.actor[0].replace("#", "0")) for layout in LAYOUTS)
    return next((layout for layout, first in firsts if f"{first}.weight" in names), None)


def layers(parts: Collection[str], tensors: Mapping[str, Tensor]) -> list[Layer]:
    """The linear layers under these names, first to last; none if the file has nothing there.

    Raises:
        UserError: if they are not the layers of a multilayer perceptron. Says it of "it", the file.
    """
    names = [name for part in parts for name in _numbered(part, tensors)]
    if not any(f"{name}.weight" in tensors for name in names):
        return []
    found = [_layer(name, tensors) for name in names]
    for before, after in pairwise(found):
        if after.weight.shape[1] != before.weight.shape[0]:
            raise UserError(
                f"its {after.name} takes {after.weight.shape[1]} numbers, but {before.name} gives "
                f"{before.weight.shape[0]}."
            )
    return found


def _numbered(part: str, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    stem, is_sequence, _ = part.partition(".#")
    if not is_sequence:
        yield part
        return
    pattern = re.compile(rf"{re.escape(stem)}\.(\d{{1,6}})\.(?:weight|bias)")
    numbers = sorted({int(match[1]) for name in tensors if (match := pattern.fullmatch(name))})
    if numbers != list(range(0, 2 * len(numbers), 2)):
        raise UserError(
            f"its layers in {stem} are numbered {', '.join(map(str, numbers))}, not 0, 2, 4, ... as linear layers with "
            "nothing but activations between them; rlft has no network with more in it."
        )
    yield from (f"{stem}.{number}" for number in numbers)


def _layer(name: str, tensors: Mapping[str, Tensor]) -> Layer:
    for which in ("weight", "bias"):
        if f"{name}.{which}" not in tensors:
            raise UserError(f"its tensor {name}.{which} is missing.")
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if weight.ndim != 2 or not weight.numel() or bias.shape != weight.shape[:1]:
        raise UserError(f"its {name} is no linear layer: weight {list(weight.shape)}, bias {list(bias.shape)}.")
    return Layer(name, weight, bias)
