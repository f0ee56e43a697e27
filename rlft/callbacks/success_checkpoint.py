"""Checkpoints of the best and the last iteration, and the policies in them as plain files."""

from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint

from rlft.callbacks.access import environments, folder_of, keeps_files, learner
from rlft.errors import UserError
from rlft.modules.iteration import IterationModule
from rlft.networks.policy_files import MADE_FOR, describe_networks, save_policy


class SuccessCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint with the highest deterministic success and the last one, under `checkpoints/`.

    A run that is continued writes into a new directory, and its best is the best since then.

    Beside them `policies/best.safetensors` and `policies/last.safetensors` (with a json of what they are) hold the
    actor and the critic alone: that is what `rlft evaluate` and `--model.policy` read.

    Args:
        monitor: metric that decides which iteration is best.
        mode: whether `max` or `min` of it is best.
        keep_every: also keep the policy of every so many iterations, as `policies/iteration_<i>.safetensors`.
    """

    changes_results = False  # it only observes

    def __init__(
        self, monitor: str = "eval/success_rate", mode: Literal["max", "min"] = "max", keep_every: int | None = None
    ) -> None:
        super().__init__(
            filename="best",
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        if keep_every is not None and keep_every < 1:
            raise UserError(f"checkpoint.keep_every is {keep_every}; it must be at least 1.")
        self.keep_every = keep_every
        self._best_exported: float | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses networks that no file could describe before anything is simulated."""
        super().setup(trainer, pl_module, stage)
        module = learner(self, pl_module)
        describe_networks(module.actor, module.critic)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Saves the best checkpoint, then policies, then the last checkpoint."""
        module = learner(self, pl_module)
        metrics = module.finish_iteration().metrics
        evaluated = self.monitor in metrics
        if not evaluated and str(self.monitor).startswith("eval") and "eval/success_rate" in metrics:
            known = ", ".join(name for name in metrics if name.startswith("eval"))
            raise UserError(f"checkpoint.monitor is {self.monitor}; it must be something measured, such as {known}.")
        if evaluated:  # else the monitored value is of an earlier policy
            super().on_train_epoch_end(trainer, pl_module)
        if folder := folder_of(trainer):
            self._export_all(folder, trainer, module, evaluated=evaluated)
        # After everything else of the iteration: a run that is killed and goes on from here repeats none of it.
        for logger in trainer.loggers:
            logger.save()
        if keeps_files(trainer):
            trainer.save_checkpoint(Path(self.dirpath or ".") / "last.ckpt")

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what the policy in the checkpoint is made for; it can be read as one."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        data = environments(self, trainer)
        checkpoint[MADE_FOR] = data.env.describe(data.rollouts.spec)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Notes beside the last policy what was measured at the end of a run that ended early."""
        module = learner(self, pl_module)
        if module.record and (folder := folder_of(trainer)):
            self._export(folder, trainer, module, "last")

    def _export_all(
        self, folder: Path, trainer: lightning.Trainer, module: IterationModule, *, evaluated: bool
    ) -> None:
        self._export(folder, trainer, module, "last")
        if self.keep_every and module.iteration % self.keep_every == 0:
            self._export(folder, trainer, module, f"iteration_{module.iteration}")
        best = None if self.best_model_score is None else float(self.best_model_score)
        if evaluated and best is not None and best != self._best_exported:
            self._export(folder, trainer, module, "best")
            self._best_exported = best

    def _export(self, folder: Path, trainer: lightning.Trainer, module: IterationModule, name: str) -> None:
        weights = module.evaluated()
        path = folder / f"policies/{name}.safetensors"
        save_policy(path, weights.actor, weights.critic, self._describe(folder, trainer, module))

    def _describe(self, folder: Path, trainer: lightning.Trainer, module: IterationModule) -> dict[str, Any]:
        data, record = environments(self, trainer), module.finish_iteration()
        return {
            **data.env.describe(data.rollouts.spec),
            "run": str(folder),
            "iteration": record.iteration,
            "env_steps": record.steps.env,
            "metrics": {k: v for k, v in record.metrics.items() if k.startswith("eval")},
            "critic": module.critic_info(),
        }
