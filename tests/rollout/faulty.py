"""Things that go wrong in worker processes; apart from the tests so that workers can import them quickly."""

import torch
from torch import nn

from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.types import Actor, EnvFactory


class RaisingActor(Actor):
    """Fails as soon as it must act."""

    def __init__(self):
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(2))

    def forward(self, obs):
        raise ValueError("boom in the policy")


class Unbuildable(PointReach, EnvFactory):
    """Cannot be built on this machine."""

    def make(self, num_envs):
        raise UserError("This machine has no such robot.")
