"""Actors as a user would write them: none is Gaussian, and nothing of rlft knows them."""

import torch
from torch import nn
from torch.nn.functional import logsigmoid, softplus

from rlft.types import Acted, Actor


class LogisticActor(Actor):
    """tanh of a logistic variable whose place and scale depend on the observation; bounded actions, a known density.

    It has no entropy in closed form, and no exploration that is set from outside.
    """

    def __init__(self, obs_dim: int, action_dim: int, widths: tuple[int, ...] = (16, 8)):
        super().__init__()
        self.obs_dim, self.action_dim, self.noise_dim, self.widths = obs_dim, action_dim, action_dim, widths
        sizes = [obs_dim, *widths]
        hidden = [part for a, b in zip(sizes, widths, strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*hidden, nn.Linear(sizes[-1], 2 * action_dim))

    def _place_and_scale(self, obs):
        place, scale = self.body(obs.state).chunk(2, -1)  # [..., A]
        return place, softplus(scale) + 0.1

    def act(self, obs, noise, *, explore=True):
        place, scale = self._place_and_scale(obs)
        if not explore:
            return Acted(place.tanh(), place[..., :0])
        action = (place + scale * torch.special.ndtr(noise).clamp(1e-6, 1 - 1e-6).logit()).tanh()
        return Acted(action, self.log_prob(obs, action)[..., None])

    def log_prob(self, obs, action):
        place, scale = self._place_and_scale(obs)
        action = action.clamp(-1 + 1e-6, 1 - 1e-6)
        z = (action.atanh() - place) / scale
        return (logsigmoid(z) + logsigmoid(-z) - scale.log() - torch.log1p(-(action**2))).sum(-1)


class GeneratorActor(Actor):
    """A network of observation and noise, as a flow policy is in the end: no density, but it can imitate."""

    def __init__(self, obs_dim: int, action_dim: int):
        super().__init__()
        self.obs_dim, self.action_dim, self.noise_dim = obs_dim, action_dim, 3
        self.body = nn.Sequential(nn.Linear(obs_dim + 3, 16), nn.Tanh(), nn.Linear(16, action_dim))

    def act(self, obs, noise, *, explore=True):
        action = self.body(torch.cat([obs.state, noise if explore else torch.zeros_like(noise)], -1))
        return Acted(action, action[..., :0])

    def imitation(self, obs, action):
        return ((self.mode(obs) - action) ** 2).sum(-1)


class ForgetfulActor(GeneratorActor):
    """Keeps its argument under another name."""

    def __init__(self, obs_dim: int, action_dim: int, size: int = 3):
        super().__init__(obs_dim, action_dim)
        self.width = size
