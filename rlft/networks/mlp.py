"""The multilayer perceptron shared by actors and critics."""

import math

from torch import nn

from rlft.errors import UserError


class MLP(nn.Sequential):
    """`num_layers` hidden tanh layers, orthogonal initialisation with gain sqrt(2), zero bias.

    Source: ManiSkill examples/baselines/ppo/ppo.py (`layer_init`), which follows CleanRL except that its critic's
    output layer keeps the gain of sqrt(2).

    Args:
        input_dim: numbers per input.
        output_dim: numbers per output.
        hidden_dim: width of the hidden layers.
        num_layers: number of hidden layers, at least 1.
        output_gain: gain of the last layer's orthogonal initialisation.
    """

    def __init__(
        self, input_dim: int, output_dim: int, hidden_dim: int, num_layers: int, output_gain: float = math.sqrt(2)
    ) -> None:
        for name, size in (("num_layers", num_layers), ("hidden_dim", hidden_dim)):
            if size < 1:
                raise UserError(f"{name} of a network is {size}; it must be at least 1.")
        layers: list[nn.Module] = []
        for i in range(num_layers):
            layers += [_linear(input_dim if i == 0 else hidden_dim, hidden_dim, math.sqrt(2)), nn.Tanh()]
        super().__init__(*layers, _linear(hidden_dim, output_dim, output_gain))
        self.input_dim = input_dim
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers


def _linear(input_dim: int, output_dim: int, gain: float) -> nn.Linear:
    layer = nn.Linear(input_dim, output_dim)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
