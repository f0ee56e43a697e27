"""Lightning's Trainer as far as it means something here."""

from __future__ import annotations

from typing import Literal

import lightning
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger

from rlft.errors import UserError
from rlft.learners import place
from rlft.modules.iteration import IterationModule
from rlft.training.run_files import WholeCheckpoints
from rlft.training.slurm import slurm_plugins
from rlft.training.strategy import Learners, Signals, Together
from rlft.types import Irrelevant, Length


def trainer(
    max_epochs: Length[int] = 10,
    max_time: Irrelevant[Length[str | None]] = None,
    accelerator: Irrelevant[Literal["auto", "cpu", "gpu", "cuda", "mps"]] = "auto",
    devices: Irrelevant[int | str] = 1,
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true", "16-true", "bf16-true"] = "32-true",
    callbacks: list[lightning.Callback] | None = None,
    logger: Irrelevant[Logger | bool | None] = None,
    profiler: Irrelevant[Literal["simple", "advanced"] | None] = None,
    detect_anomaly: Irrelevant[bool] = False,
    fast_dev_run: Irrelevant[bool] = False,
) -> lightning.Trainer:
    """The part of Lightning's Trainer that means something when one epoch is one iteration.

    Args:
        max_epochs: iterations to run.
        max_time: stop after this long, as DD:HH:MM:SS.
        accelerator: where the networks learn: cpu, gpu or auto.
        devices: how many learners share the run, with a device each, or which devices, as in `2,` or `0,1`.
        precision: of the networks' arithmetic, as Lightning names it.
        callbacks: further callbacks, such as FreezeSchedule.
        logger: where metrics go; by default TensorBoard under the run directory.
        profiler: simple or advanced: where Lightning spends its time.
        detect_anomaly: let autograd say which operation produced a NaN.
        fast_dev_run: one minibatch, no files.
    """
    for callback in callbacks or []:
        if isinstance(callback, EarlyStopping):
            if "success" in callback.monitor and callback.mode == "min":  # Lightning's default
                raise UserError(f"EarlyStopping.mode is min, by which {callback.monitor} is to fall; set it to max.")
            _judge_what_is_new(callback)
    several = place().count > 1
    made = lightning.Trainer(
        max_epochs=max_epochs,
        max_time=max_time,
        accelerator=accelerator,
        devices=devices,
        precision=precision,
        callbacks=callbacks,
        logger=logger,
        strategy=Learners() if several else "auto",
        plugins=[WholeCheckpoints(), *([Together()] if several else slurm_plugins())],
        profiler=profiler,
        detect_anomaly=detect_anomaly,
        fast_dev_run=fast_dev_run,
        enable_model_summary=False,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=None,
        val_check_interval=10**12,  # `fit` evaluates in a callback, which also works when a KL stop ends the epoch
        log_every_n_steps=10**9,  # metrics are logged once per iteration, by the module
    )
    if several:
        made._signal_connector = Signals(made)
    return made


def _judge_what_is_new(stop: EarlyStopping) -> None:
    """Has it look after iterations, and only those that have its metric: it takes an old value for no improvement."""
    if stop._check_on_train_epoch_end is None:
        stop._check_on_train_epoch_end = True  # else it waits for validation, which `fit` never runs
    check = stop._run_early_stopping_check

    def judge(trainer: lightning.Trainer) -> None:
        module = trainer.lightning_module
        new = module.finish_iteration().metrics if isinstance(module, IterationModule) else trainer.callback_metrics
        awaits_evaluation = stop.monitor.startswith("eval") and "eval/success_rate" not in new
        if stop.monitor in new or not (awaits_evaluation or stop.monitor in trainer.callback_metrics):
            check(trainer)  # which refuses a metric that there is not

    stop._run_early_stopping_check = judge  # type: ignore[method-assign]
