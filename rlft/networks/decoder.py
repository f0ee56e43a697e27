"""From features back to pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlft.networks.encoders import ConvEncoder


class ConvDecoder(nn.Module):
    """The layers of an encoder the other way round, transposed, with a LeakyReLU each but for the last: a sigmoid.

    Args:
        encoder: whose features it takes; no part of this module.
    """

    def __init__(self, encoder: ConvEncoder) -> None:
        super().__init__()
        self.sizes = encoder.sizes
        convolutions = [layer for layer in encoder.layers if isinstance(layer, nn.Conv2d)]
        sides, layers = _sides(encoder, convolutions), list[nn.Module]()
        for layer, wide, narrow in zip(convolutions[::-1], sides[-2::-1], sides[:0:-1], strict=True):
            kernel, stride = int(layer.kernel_size[0]), int(layer.stride[0])
            high, across = (one - ((other - 1) * stride + kernel) for one, other in zip(wide, narrow, strict=True))
            layers += [
                nn.ConvTranspose2d(
                    layer.out_channels, layer.in_channels, kernel, stride, output_padding=(high, across)
                ),
                nn.LeakyReLU(),
            ]
        self.layers = nn.Sequential(*layers[:-1], nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Pictures `[B, C, H, W]` from 0 to 1 of features `[B, F]`."""
        pictures: Tensor = self.layers(features.reshape(-1, *self.sizes))
        return pictures


def _sides(encoder: ConvEncoder, convolutions: list[nn.Conv2d]) -> list[tuple[int, ...]]:
    """Height and width before each layer and after the last one."""
    sides = [tuple(encoder.image[1:])]
    for layer in convolutions:
        kernel, stride = int(layer.kernel_size[0]), int(layer.stride[0])
        sides.append(tuple((side - kernel) // stride + 1 for side in sides[-1]))
    return sides


def reconstruction_error(decoded: Tensor, image: Tensor) -> Tensor:
    """Mean squared error of pictures `[B, C, H, W]` from 0 to 1, of uint8 ones."""
    return torch.nn.functional.mse_loss(decoded, image.float() / 255)
