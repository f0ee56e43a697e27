"""Checkpoints of the best and the last iteration, and the policies in them as plain files."""

from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.callbacks import ModelCheckpoint

from rlft.errors import UserError
from rlft.networks.policy_files import save_policy


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

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Saves the best checkpoint, then policies, then the last checkpoint."""
        evaluated = self.monitor in pl_module.iteration_metrics()
        if evaluated:  # else the monitored value is of an earlier policy
            super().on_train_epoch_end(trainer, pl_module)
        if trainer.fast_dev_run or trainer.log_dir is None:
            return
        self._export(trainer, pl_module, "last")
        if self.keep_every and pl_module.iteration % self.keep_every == 0:
            self._export(trainer, pl_module, f"iteration_{pl_module.iteration}")
        best = None if self.best_model_score is None else float(self.best_model_score)
        if evaluated and best is not None and best != self._best_exported:
            self._export(trainer, pl_module, "best")
            self._best_exported = best
        # After everything else of the iteration: a run that is killed and goes on from here repeats none of it.
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(Path(self.dirpath or ".") / "last.ckpt")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Notes beside the last policy what was measured at the end of a run that ended early."""
        if pl_module.iteration and trainer.log_dir is not None and not trainer.fast_dev_run:
            self._export(trainer, pl_module, "last")

    def _export(self, trainer: Any, module: Any, name: str) -> None:
        weights = module.evaluated()
        path = Path(trainer.log_dir) / f"policies/{name}.safetensors"
        save_policy(path, weights.actor, weights.critic, self._describe(trainer, module))

    @staticmethod
    def _describe(trainer: Any, module: Any) -> dict[str, Any]:
        spec = trainer.datamodule.rollouts.spec
        metrics = {k: v for k, v in module.iteration_metrics().items() if k.startswith("eval")}
        return {
            "task": spec.task,
            "control_mode": getattr(trainer.datamodule.env, "control_mode", None),
            "run": str(trainer.log_dir),
            "iteration": module.iteration,
            "env_steps": module.env_steps,
            "metrics": metrics,
            "critic": module.critic_info(),
        }
