"""The policy of an implicit quantile network: the choice whose return is best on average."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from rlft.errors import UserError, require
from rlft.networks.choices import check_choices
from rlft.networks.dueling_head import dueling, head
from rlft.networks.encoders import CONVOLUTIONS, PIXELS, Convolutions, ObsEncoder
from rlft.networks.quantile_embedding import QuantileEmbedding
from rlft.types import Acted, Actor, Obs


class QuantileActor(Actor):
    """Quantiles of the return of every choice, of which it takes the one with the highest mean.

    Q_tau(s, a) = V(z) + A_a(z) - mean_b A_b(z), z = features(s) phi(tau). Source: Dabney et al. 2018, 1806.06923, with
    the heads of Wang et al. 2016, 1511.06581. Submodules: `encoder` with `image` and `floats`, `mixer` (phi),
    `advantage`, `value`. It never explores by itself: `EpsilonGreedy` does. Deviation: the quantiles of a decision are
    the middles of equal parts of (0, 1), not drawn.

    Args:
        obs_dim: numbers per observation.
        action_dim: 1, the number of the choice.
        choices: among how many it chooses.
        image: channels, height and width of the pictures to look at; `null` looks at none.
        convolutions: filters, side of the kernel and stride of every layer of `encoder.image`.
        pixels: what is subtracted from pixels of 0 to 255, and what they are then divided by.
        float_dim: width of the two layers of `encoder.floats`; 0 looks at no numbers.
        head_dim: width of the hidden layer of `advantage` and `value`; 0 for none.
        cosines: of `mixer`.
        act_quantiles: of the mean by which it decides.
        timed: whether one more number of observations says how much of a horizon is left, from 0 to 1; where it is
            missing, as in every decision, all of it is.
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
        cosines: int = 64,
        act_quantiles: int = 32,
        timed: bool = False,
    ) -> None:
        super().__init__()
        check_choices(choices, action_dim)
        require(act_quantiles >= 1, "act_quantiles of a network", act_quantiles, "at least 1")
        self.obs_dim, self.action_dim, self.noise_dim = obs_dim, action_dim, 0
        self.choices, self.image, self.convolutions, self.pixels = choices, image, convolutions, pixels
        self.float_dim, self.head_dim, self.cosines, self.act_quantiles = float_dim, head_dim, cosines, act_quantiles
        if timed and not float_dim:
            raise UserError("timed of a network is true, but float_dim is 0; the time is a number, so let it see some.")
        self.timed = timed
        self.encoder = ObsEncoder(obs_dim + timed, image, convolutions, pixels, float_dim)
        self.mixer = QuantileEmbedding(self.encoder.width, cosines)
        self.advantage = head(self.encoder.width, head_dim, choices)
        self.value = head(self.encoder.width, head_dim, 1)

    def quantiles(self, obs: Obs, tau: Tensor | None = None) -> Tensor:
        """The quantiles of the return `[..., n, choices]` of observations `[...]`; levels as of `features`."""
        features = self.features(obs, tau)
        return dueling(self.value(features), self.advantage(features))

    def features(self, obs: Obs, tau: Tensor | None = None) -> Tensor:
        """What its heads get, `[..., n, F]`, at levels `[n]` or `[..., n]`; without any at those of a decision."""
        if tau is None:
            tau = (torch.arange(self.act_quantiles, device=obs.device) + 0.5) / self.act_quantiles
        features: Tensor = self.encoder(self._told(obs))[..., None, :] * self.mixer(tau)
        return features

    def fit_moments(self, state: Tensor) -> None:
        """Standardises numbers by the moments of these, `[M, O]`, unless that has been done."""
        self.encoder.fit_moments(self._told(Obs(state)).state)

    def _told(self, obs: Obs) -> Obs:
        """With all of the horizon left, if nothing says how much is."""
        if not self.timed or obs.state.shape[-1] > self.obs_dim:
            return obs
        return replace(obs, state=F.pad(obs.state, (0, 1), value=1.0))

    def values(self, obs: Obs) -> Tensor:
        """Q `[..., choices]` of observations `[...]`."""
        return self.quantiles(obs).mean(-2)

    @torch.no_grad()
    def scale_values(self, factor: float) -> None:
        """Multiplies every quantile of every choice; the best choice stays what it is."""
        for last in (self.value[-1], self.advantage[-1]):
            for weight in last.parameters():
                weight.mul_(factor)

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The best choice, `[..., 1]` int64."""
        values = self.values(obs)
        return Acted(values.argmax(-1, keepdim=True), values[..., :0])

    def imitation(self, obs: Obs, action: Tensor) -> Tensor:
        """The cross-entropy `[...]` of choices `[..., 1]` with Q as logits."""
        return -F.log_softmax(self.values(obs), -1).gather(-1, action.long()).squeeze(-1)
