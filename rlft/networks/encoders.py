"""What a policy makes of an observation before it decides: features of its picture and of its numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rlft.errors import UserError, require
from rlft.networks.moments import moments
from rlft.types import Obs

LEAKY_GAIN = nn.init.calculate_gain("leaky_relu", 0.01)  # of layers before a LeakyReLU
Convolutions = tuple[tuple[int, int, int], ...]  # of every layer: filters, side of the kernel, stride
CONVOLUTIONS: Convolutions = ((16, 4, 2), (32, 4, 2), (64, 3, 2), (32, 3, 1))  # 512 features of 64 x 64 pixels
PIXELS = (128.0, 128.0)  # so that 0 to 255 become -1 to 1


def orthogonal(layer: nn.Linear | nn.Conv2d, gain: float) -> nn.Module:
    """The layer with orthogonal weights of this gain, and no bias at first."""
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None  # all of ours have one
    nn.init.zeros_(layer.bias)
    return layer


class ConvEncoder(nn.Module):
    """Convolutions with a LeakyReLU each.

    Args:
        image: channels, height and width of the pictures.
        convolutions: filters, side of the kernel and stride of every layer.
        pixels: what is subtracted from pixels of 0 to 255, and what they are then divided by.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        convolutions: Convolutions = CONVOLUTIONS,
        pixels: tuple[float, float] = PIXELS,
    ) -> None:
        super().__init__()
        finite = all(map(math.isfinite, pixels)) and pixels[1] > 0
        require(finite, "pixels of a network", list(pixels), "two finite numbers, the second above 0")
        self.image, self.pixels = tuple(image), tuple(pixels)
        layers: list[nn.Module] = []
        channels, *sides = image
        for filters, kernel, stride in convolutions:
            require(min(filters, kernel, stride) >= 1, "convolutions of a network", [*convolutions], "at least 1 each")
            sides = [(side - kernel) // stride + 1 for side in sides]
            fits = min(sides) >= 1
            require(fits, "convolutions of a network", [*convolutions], f"fewer or smaller for pictures of {image}")
            layers += [orthogonal(nn.Conv2d(channels, filters, kernel, stride), LEAKY_GAIN), nn.LeakyReLU()]
            channels = filters
        # The strides of the weights decide how CPUs convolve, and this way they do so twice as fast.
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sizes = (channels, *sides)  # of what it makes of a picture
        self.width = math.prod(self.sizes)

    def forward(self, image: Tensor) -> Tensor:
        """Features `[..., F]` of pictures `[..., C, H, W]` uint8."""
        shape = image.shape[:-3]
        features: Tensor = self.layers(self.normalised(image.reshape(-1, *self.image)))
        return features.reshape(*shape, self.width)

    def normalised(self, image: Tensor) -> Tensor:
        """Pictures of any shape as the network gets them."""
        center, scale = self.pixels
        return (image.float() - center) / scale


class FloatEncoder(nn.Module):
    """Two layers with a LeakyReLU each, of numbers in standard deviations from their mean.

    The moments are those of the first data, where a learner calls `fit_moments`; until then numbers stay as they are.

    Args:
        inputs: how many numbers.
        width: of both layers.
    """

    mean: Tensor  # [O]
    scale: Tensor  # [O]
    fitted: Tensor  # [] bool

    def __init__(self, inputs: int, width: int = 256) -> None:
        super().__init__()
        require(width >= 1, "float_dim of a network", width, "at least 1")
        self.width = width
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.register_buffer("fitted", torch.tensor(False))
        layers = [(inputs, width), (width, width)]
        self.layers = nn.Sequential(
            *[part for sizes in layers for part in (orthogonal(nn.Linear(*sizes), LEAKY_GAIN), nn.LeakyReLU())]
        )

    def forward(self, state: Tensor) -> Tensor:
        """Features `[..., F]` of numbers `[..., O]`."""
        features: Tensor = self.layers((state - self.mean) / self.scale)
        return features

    @torch.no_grad()
    def fit_moments(self, state: Tensor) -> None:
        """Takes the moments of `[M, O]`, unless it has some already; what never varies keeps its scale."""
        if bool(self.fitted) or len(state) < 2:
            return
        mean, scale = moments(state)
        self.mean.copy_(mean)
        self.scale.copy_(scale)
        self.fitted.fill_(True)


class ObsEncoder(nn.Module):
    """Features of the picture, the submodule `image`, and then of the numbers, the submodule `floats`.

    Args:
        obs_dim: numbers per observation; 0 if there are none.
        image: channels, height and width of the pictures to look at; `None` looks at none.
        convolutions: see `ConvEncoder`.
        pixels: likewise.
        float_dim: see `FloatEncoder`; 0 looks at no numbers.
    """

    def __init__(
        self,
        obs_dim: int,
        image: tuple[int, int, int] | None,
        convolutions: Convolutions,
        pixels: tuple[float, float],
        float_dim: int,
    ) -> None:
        super().__init__()
        self.image = None if image is None else ConvEncoder(image, convolutions, pixels)
        self.floats = FloatEncoder(obs_dim, float_dim) if obs_dim and float_dim else None
        self.width = sum(part.width for part in (self.image, self.floats) if part is not None)
        if not self.width:
            raise UserError(
                "A network has nothing to look at: it needs an image, given as channels, height and width, or a "
                "float_dim above 0 and observations that have numbers."
            )

    def forward(self, obs: Obs) -> Tensor:
        """Features `[..., F]` of observations `[...]`."""
        found = []
        if self.image is not None:
            found.append(self.image(obs.image))
        if self.floats is not None:
            found.append(self.floats(obs.state))
        return torch.cat(found, -1)

    def fit_moments(self, state: Tensor) -> None:
        """Standardises numbers by the moments of these, `[M, O]`, unless that has been done."""
        if self.floats is not None:
            self.floats.fit_moments(state)
