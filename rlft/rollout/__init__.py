"""Acting in environments."""

import math
import sys

from rlft.errors import UserError
from rlft.rollout.local import LocalRollouts
from rlft.rollout.processes import ProcessRollouts
from rlft.rollout.ray_workers import Ray
from rlft.rollout.rerollouts import IterationRerollouts
from rlft.rollout.worker_pool import WorkerDied, close_all
from rlft.rollout.worker_process import Processes
from rlft.rollout.workers import Workers
from rlft.types import EnvFactory, Rollouts


def make_rollouts(
    factory: EnvFactory, num_envs: int, num_workers: int | None, workers: Workers | None = None
) -> Rollouts:
    """Rollouts in `num_workers` processes, or in this one if that is 0; in more where the environments need them.

    `None` is one per processor core that this process may use, and 0 where a GPU simulates; or one for every place that
    `workers` have. Neither the number of processes nor where they live changes a result.

    Raises:
        UserError: if the environments cannot be built, or do not fit into this process and no other is allowed.
    """
    refuse_idle(num_workers, workers)
    if num_workers is None:
        num_workers = (workers or Processes()).count(factory)
    limit = factory.scenes_per_process()
    needed = 1 if limit is None else math.ceil(num_envs / limit)
    if num_workers == 0:
        if needed > 1:
            raise UserError(
                f"{num_envs} environments do not fit into one process, which has room for {limit}; set num_workers to "
                f"at least {needed}, or null, or num_envs to at most {limit}."
            )
        return LocalRollouts(factory, num_envs)
    if needed > num_workers:
        asked = f"{num_workers} {'was' if num_workers == 1 else 'were'} asked for"
        print(f"{num_envs} environments need {needed} processes of at most {limit}; {asked}.", file=sys.stderr)
    return ProcessRollouts(factory, num_envs, max(num_workers, needed), workers)


def refuse_idle(num_workers: int | None, workers: Workers | None) -> None:
    """Refuses to simulate in this process and in workers that live elsewhere.

    Raises:
        UserError: if both are asked for.
    """
    if num_workers == 0 and workers is not None:
        kind = type(workers).__name__
        raise UserError(f"num_workers is 0, which needs no workers of {kind}; set it to at least 1, or null.")


__all__ = [
    "IterationRerollouts",
    "LocalRollouts",
    "ProcessRollouts",
    "Processes",
    "Ray",
    "WorkerDied",
    "Workers",
    "close_all",
    "make_rollouts",
    "refuse_idle",
]
