"""Things that go wrong in worker processes; apart from the tests so that workers can import them quickly."""

import os
import signal
import time

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


class SlowActor(Actor):
    """Takes its time over every step."""

    def __init__(self, seconds):
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(2))
        self.seconds = seconds

    def forward(self, obs):
        time.sleep(self.seconds)
        return torch.zeros(*obs.shape[:-1], 2)


def die_holding(lock):
    """What a worker does that is killed at the wrong moment."""
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)
