"""Training episodes that begin nearer to success, as often as the policy needs it."""

from __future__ import annotations

import math
from typing import Any

import lightning

from rlft.callbacks.access import environments, learner
from rlft.errors import UserError, require
from rlft.types import EnvSpec, StartMixture

MOST = 0.9  # of training episodes may begin in stages: some always begin as the task has it


class StartCurriculum(lightning.Callback):
    """Has a share of the training episodes begin in stages of the task, such as with the object grasped.

    After every iteration in which episodes have ended, the share p becomes clip(p + rate (target - success), 0, 0.9),
    where success is a moving average of the rate at which these episodes succeeded: the easier it gets, the more of
    them begin as the task has it. Every stage has the same part of p. Evaluation never begins in a stage. Logs
    `charts/stage_share`, `charts/stage_success`, which is that average, and `train/success_rate/<stage>`.

    Args:
        stages: of the task, such as `[grasped, lifted]`; LiftCube-v1 has near, grasped, elevated and lifted.
        share: p at the start of the run, at most 0.9.
        target: success at which p stays as it is.
        rate: how fast p moves.
        memory: weight of the earlier average in the moving one; 0 has the last iteration alone count.
    """

    def __init__(
        self,
        stages: list[str],
        share: float = MOST,
        target: float = 0.5,
        rate: float = 0.1,
        memory: float = 0.8,
    ) -> None:
        if not stages or len(set(stages)) < len(stages):
            raise UserError(f"StartCurriculum.stages is {stages}; it must name at least one stage, and none twice.")
        require(0 <= share <= MOST, "StartCurriculum.share", share, f"from 0 to {MOST}")
        require(0 <= target <= 1, "StartCurriculum.target", target, "from 0 to 1")
        require(0 <= rate < math.inf, "StartCurriculum.rate", rate, "at least 0 and finite")
        require(0 <= memory < 1, "StartCurriculum.memory", memory, "at least 0 and below 1")
        self.stages = list(stages)
        self.share = share
        self.target = target
        self.rate = rate
        self.memory = memory
        self._success: float | None = None  # the moving average; nothing before an episode has ended
        self._share = share  # of the running iteration

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses stages that the task does not have, and data in which no episode begins any more."""
        if learner(self, pl_module).source.fixed:
            raise UserError(
                "StartCurriculum changes where new episodes begin, but the data of this run are fixed; leave it out, "
                "or take data RolloutDataModule or ReplayDataModule."
            )
        self._check(environments(self, trainer).rollouts.spec)

    def _check(self, spec: EnvSpec) -> None:
        if not spec.stages:
            raise UserError(
                f"StartCurriculum needs a task with stages, and {spec.task} as configured has none; leave it out, take "
                "LiftCube-v1 with control_mode pd_xyz, or give your task stages as docs/own_task.md says."
            )
        if unknown := [name for name in self.stages if name not in spec.stages]:
            raise UserError(
                f"StartCurriculum.stages has {unknown[0]!r}, which is no stage of {spec.task}; choose from "
                f"{', '.join(spec.stages)}, beside which some episodes always begin as the task has it."
            )

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Says where episodes of the iteration begin; the data module collects later."""
        environments(self, trainer).starts = StartMixture.even(self.stages, self._share)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Logs the share of the iteration, and moves it."""
        module, rollout = learner(self, pl_module), environments(self, trainer).rollout
        module.add_metrics({"charts/stage_share": self._share})
        if rollout is None or not rollout.done.any():
            return
        self._move(float(rollout.success[rollout.done].double().mean()))
        assert self._success is not None  # an episode has ended
        module.add_metrics({"charts/stage_success": self._success})

    def _move(self, success: float) -> None:
        before = success if self._success is None else self._success
        self._success = self.memory * before + (1 - self.memory) * success
        self._share = min(MOST, max(0.0, self._share + self.rate * (self.target - self._success)))

    def state_dict(self) -> dict[str, Any]:
        """The share of the next iteration, and the average."""
        return {"share": self._share, "success": self._success}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        self._share, self._success = state_dict["share"], state_dict["success"]
