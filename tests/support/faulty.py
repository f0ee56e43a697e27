"""Things that go wrong in worker processes; apart from the tests so that workers can import them quickly."""

import os
import signal
import time
from pathlib import Path

import torch

from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.networks import DiagonalGaussianActor
from rlft.rollout.job_queue import JobQueue
from rlft.types import EnvFactory


def fail(how):
    """Does to this process what may happen to it."""
    if isinstance(how, signal.Signals):
        os.kill(os.getpid(), how)
    elif how == "exit":
        os._exit(3)
    elif how == "memory":
        raise MemoryError("no memory for another scene")
    else:
        raise how


class FaultyActor(DiagonalGaussianActor):
    """Acts as `actor` does until `how` it fails: in its step number `after`, and `times` in all processes together."""

    def __init__(self, actor, how, folder, after=3, times=1):
        super().__init__(actor.obs_dim, actor.log_std.detach())
        self.actor = actor
        self.how, self.folder, self.after, self.times = how, str(folder), after, times
        self.steps = 0

    def forward(self, obs):
        self.steps += 1
        if self.how is not None and self.steps == self.after:
            for number in range(self.times):
                try:
                    Path(self.folder, f"failure{number}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                fail(self.how)
                break
        return self.actor(obs)


class Unbuildable(PointReach, EnvFactory):
    """Cannot be built on this machine."""

    def make(self, num_envs):
        raise UserError("This machine has no such robot.")


class DeadlyPlace(DiagonalGaussianActor):
    """Kills the process that is to act at one observation."""

    def __init__(self, obs):
        super().__init__(6, torch.zeros(2))
        self.register_buffer("obs", obs)

    def forward(self, obs):
        if (obs.state == self.obs).all(-1).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(*obs.shape, 2)


class SlowToBuild(PointReach, EnvFactory):
    """Takes some seconds to build."""

    def __init__(self, seconds):
        super().__init__()
        object.__setattr__(self, "seconds", seconds)

    def make(self, num_envs):
        time.sleep(self.seconds)
        return super().make(num_envs)


class SlowActor(DiagonalGaussianActor):
    """Takes its time over every step."""

    def __init__(self, seconds):
        super().__init__(6, torch.zeros(2))
        self.seconds = seconds

    def forward(self, obs):
        time.sleep(self.seconds)
        return torch.zeros(*obs.shape, 2)


def take_all(queue: JobQueue, count, barrier, connection, fatal):
    """Takes jobs off the queue until there are none, or dies on the way after telling what it took."""
    taken = []
    barrier.wait()
    for _ in range(100 // count + 1):
        taken += queue.take(count)
    barrier.wait()  # on few cores one process could empty the queue before another has begun
    while not fatal and (jobs := queue.take(count)):
        taken += jobs
    connection.send(taken)
    if fatal:
        os.kill(os.getpid(), signal.SIGKILL)
