"""Acting in environments."""

import math
import sys

from rlft.errors import UserError, require
from rlft.learners import place
from rlft.rollout.local import LocalRollouts
from rlft.rollout.processes import ProcessRollouts
from rlft.rollout.ray_workers import Ray
from rlft.rollout.rerollouts import IterationRerollouts
from rlft.rollout.shared import SharedRollouts
from rlft.rollout.worker_pool import WorkerDied, close_all
from rlft.rollout.worker_process import Processes
from rlft.rollout.workers import Workers
from rlft.types import EnvFactory, Rollouts


def make_rollouts(
    factory: EnvFactory, num_envs: int, num_workers: int | None, workers: Workers | None = None
) -> Rollouts:
    """Rollouts in `num_workers` processes, or in this one if that is 0; in more where the environments need them.

    `None` is one per processor core that this process may use, and 0 where a GPU simulates; or one for every place that
    `workers` have. Neither the number of processes nor where they live changes a result. Several learners have a share
    of the environments each, so many processes of their own for it, and by default a share of the places.

    Raises:
        UserError: if the environments cannot be built, cannot be shared, or do not fit into this process and no other
            is allowed.
    """
    here = place()
    if here.count > 1:
        _check_shared(factory, num_envs, here.count)
    refuse_idle(num_workers, workers)
    require(num_workers is None or num_workers >= 0, "num_workers", num_workers, "at least 0")
    if num_workers is None:
        places = (workers or Processes()).count(factory)
        num_workers = min(places, max(1, places // here.count))
    own = _make_own(factory, num_envs, here.share(num_envs), num_workers, workers)
    return SharedRollouts(own) if here.count > 1 else own


def _check_shared(factory: EnvFactory, num_envs: int, learners: int) -> None:
    if factory.on_gpu():
        raise UserError(
            f"{learners} learners cannot share environments that a GPU simulates; set trainer.devices to 1, or have "
            "them simulated by the CPU."
        )
    require(num_envs >= learners, "data.num_envs", num_envs, f"at least 1 for each of {learners} learners")


def _make_own(
    factory: EnvFactory, num_envs: int, env_ids: range, num_workers: int, workers: Workers | None
) -> LocalRollouts | ProcessRollouts:
    """Those of `num_envs` environments that this process has, in workers or not."""
    limit = factory.scenes_per_process()
    found = len(env_ids)
    needed = 1 if limit is None else math.ceil(found / limit)
    if num_workers == 0:
        if needed > 1:
            raise UserError(
                f"{found} environments do not fit into one process, which has room for {limit}; set num_workers to "
                f"at least {needed}, or null, or num_envs to at most {limit}."
            )
        return LocalRollouts(factory, num_envs, env_ids)
    if needed > num_workers:
        asked = f"{num_workers} {'was' if num_workers == 1 else 'were'} asked for"
        print(f"{found} environments need {needed} processes of at most {limit}; {asked}.", file=sys.stderr)
    return ProcessRollouts(factory, num_envs, max(num_workers, needed), workers, env_ids)


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
