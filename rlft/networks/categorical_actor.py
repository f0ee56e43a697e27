"""A stochastic policy over choices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rlft.networks.choices import check_choices
from rlft.networks.distributions import Categorical
from rlft.networks.dueling_head import head
from rlft.networks.encoders import CONVOLUTIONS, PIXELS, Convolutions, ObsEncoder
from rlft.types import Acted, Actor, Obs


class CategoricalActor(Actor):
    """Chooses with the probabilities softmax(A(features(s))).

    Logits are advantages up to what all choices have in common, so their head has the name and the shape of that of a
    `QuantileActor`, which can take it over. Submodules: `encoder` with `image` and `floats`, `advantage`.

    Args:
        obs_dim: numbers per observation.
        action_dim: 1, the number of the choice.
        choices: among how many it chooses.
        image: channels, height and width of the pictures to look at; `null` looks at none.
        convolutions: filters, side of the kernel and stride of every layer of `encoder.image`.
        pixels: what is subtracted from pixels of 0 to 255, and what they are then divided by.
        float_dim: width of the two layers of `encoder.floats`; 0 looks at no numbers.
        head_dim: width of the hidden layer of `advantage`; 0 for none.
    """

    choices: int

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        choices: int,
        image: tuple[int, int, int] | None = None,
        convolutions: Convolutions = CONVOLUTIONS,
        pixels: tuple[float, float] = PIXELS,
        float_dim: int = 256,
        head_dim: int = 512,
    ) -> None:
        super().__init__()
        check_choices(choices, action_dim)
        self.obs_dim, self.action_dim, self.noise_dim = obs_dim, action_dim, 1
        self.choices, self.image, self.convolutions, self.pixels = choices, image, convolutions, pixels
        self.float_dim, self.head_dim = float_dim, head_dim
        self.encoder = ObsEncoder(obs_dim, image, convolutions, pixels, float_dim)
        self.advantage = head(self.encoder.width, head_dim, choices)
        with torch.no_grad():
            next(self.advantage[-1].parameters()).mul_(0.01)  # at first every choice is about as likely as any other

    def features(self, obs: Obs) -> Tensor:
        """What its head gets, `[..., 1, F]`: a `QuantileActor` has such features for each of its levels."""
        features: Tensor = self.encoder(obs)[..., None, :]
        return features

    def distribution(self, obs: Obs) -> Categorical:
        """Of the choices that it makes."""
        return Categorical(F.log_softmax(self.advantage(self.encoder(obs)), -1))

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """A choice `[..., 1]` int64."""
        distribution = self.distribution(obs)
        if not explore:
            return Acted(distribution.mode(), distribution.log_probs[..., :0])
        action = distribution.sample(noise)
        return Acted(action, distribution.log_prob(action)[..., None])

    def log_prob(self, obs: Obs, action: Tensor) -> Tensor:
        """Log probability `[...]` of choices `[..., 1]`."""
        return self.distribution(obs).log_prob(action)

    def entropy(self, obs: Obs) -> Tensor:
        """Nats, `[...]`."""
        return self.distribution(obs).entropy()
