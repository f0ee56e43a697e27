"""The multilayer perceptron shared by actors and critics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import nn

from rlft.errors import require

Activation = Literal["tanh", "relu", "elu", "silu", "gelu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
MOST_LAYERS = 1000  # a mistyped number of layers would fill the memory, one by one


class MLP(nn.Sequential):
    """Hidden layers with an activation each, orthogonal initialisation with gain sqrt(2), zero bias.

    Source: ManiSkill examples/baselines/ppo/ppo.py (`layer_init`), which follows CleanRL except that its critic's
    output layer keeps the gain of sqrt(2). It has tanh; others keep the gain.

    Args:
        input_dim: numbers per input.
        output_dim: numbers per output.
        widths: of the hidden layers, at least one.
        activation: after every hidden layer.
        output_gain: gain of the last layer's orthogonal initialisation.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        widths: Sequence[int],
        activation: Activation = "tanh",
        output_gain: float = math.sqrt(2),
    ) -> None:
        layers: list[nn.Module] = []
        for before, width in zip([input_dim, *widths], widths, strict=False):
            layers += [_linear(before, width, math.sqrt(2)), ACTIVATIONS[activation]()]
        super().__init__(*layers, _linear(widths[-1], output_dim, output_gain))
        self.input_dim = input_dim
        self.widths = tuple(widths)
        self.activation = activation

    @property
    def num_layers(self) -> int:
        """Of the hidden layers."""
        return len(self.widths)

    @property
    def hidden_dim(self) -> int:
        """Of the widest hidden layer."""
        return max(self.widths)


def widths_of(hidden_dim: int, num_layers: int, hidden_dims: Sequence[int] | None) -> tuple[int, ...]:
    """The widths of the hidden layers: `hidden_dims`, or `num_layers` of `hidden_dim` if that is `None`.

    Raises:
        UserError: if there is none, or one without a unit.
    """
    if hidden_dims is not None:
        right = len(hidden_dims) > 0 and min(hidden_dims) >= 1
        require(right, "hidden_dims of a network", list(hidden_dims), "one width per hidden layer, each at least 1")
        return tuple(hidden_dims)
    right = 1 <= num_layers <= MOST_LAYERS
    require(right, "num_layers of a network", num_layers, f"at least 1 and at most {MOST_LAYERS}")
    require(hidden_dim >= 1, "hidden_dim of a network", hidden_dim, "at least 1")
    return (hidden_dim,) * num_layers


def _linear(input_dim: int, output_dim: int, gain: float) -> nn.Linear:
    layer = nn.Linear(input_dim, output_dim)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
