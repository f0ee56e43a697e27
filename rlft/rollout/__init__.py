"""Acting in environments."""

from rlft.rollout.local import LocalRollouts
from rlft.rollout.processes import ProcessRollouts, WorkerDied, close_all
from rlft.types import EnvFactory, Rollouts


def make_rollouts(factory: EnvFactory, num_envs: int, num_workers: int) -> Rollouts:
    """Rollouts in `num_workers` processes, or in this one if that is 0."""
    if num_workers == 0:
        return LocalRollouts(factory, num_envs)
    return ProcessRollouts(factory, num_envs, num_workers)


__all__ = ["LocalRollouts", "ProcessRollouts", "WorkerDied", "close_all", "make_rollouts"]
