"""Acting in environments."""

import torch

from rlft.rollout.local import LocalRollouts
from rlft.rollout.processes import ProcessRollouts
from rlft.rollout.rerollouts import IterationRerollouts
from rlft.rollout.worker_pool import WorkerDied, close_all
from rlft.system import available_cores
from rlft.types import EnvFactory, Rollouts


def default_workers() -> int:
    """One per processor core that this process may use; on a CUDA machine one process drives the GPU's simulation."""
    if torch.cuda.is_available():
        return 0
    return available_cores()


def make_rollouts(factory: EnvFactory, num_envs: int, num_workers: int) -> Rollouts:
    """Rollouts in `num_workers` processes, or in this one if that is 0."""
    if num_workers == 0:
        return LocalRollouts(factory, num_envs)
    return ProcessRollouts(factory, num_envs, num_workers)


__all__ = [
    "IterationRerollouts",
    "LocalRollouts",
    "ProcessRollouts",
    "WorkerDied",
    "close_all",
    "default_workers",
    "make_rollouts",
]
