"""`rlft fit` and `rlft validate`: LightningCLI with rlft's links, defaults and run directories."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import shlex
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import lightning
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

import rlft.advantage
import rlft.data
import rlft.envs
import rlft.modules
import rlft.update  # noqa: F401  plug-ins are found by short name once they are imported
from callbacks import DeterministicEval, IterationProgress, Pitfalls, RunReport, SuccessCheckpoint
from rlft.checkpoints import WholeCheckpoints
from rlft.early_checks import check, check_trainer, refuse_nulls
from rlft.errors import UserError
from rlft.parse_errors import LINKED, one_sentence, user_error_behind
from rlft.resolved_config import differences, imported, run_name
from rlft.resume import check_continues, flattened, read_checkpoint, summary
from rlft.rollout import WorkerDied, close_all
from rlft.run_directory import LAST_CHECKPOINT, versions
from rlft.slurm import slurm_plugins, warnings_of_slurm

FIT = """Trains a module on a data module, one iteration per epoch, and writes a run directory.

Options of the parts, by name of their class: `--model.help FinetuneModule`, `--data.help RolloutDataModule`,
`--model.advantage.help GAE`, `--model.update.help PPO`, `--data.env.help ManiSkill`. Where a config names a class, its
options follow directly: `--model.advantage.gamma 0.99`, `--data.num_envs 50`, `--model.update PPO`."""
VALIDATE = "Evaluates the checkpoint given by --ckpt_path as `fit` would, with the same configuration."


def trainer(
    max_epochs: int = 10,
    max_time: str | None = None,
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto",
    devices: int | str = 1,
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true", "16-true", "bf16-true"] = "32-true",
    callbacks: list[lightning.Callback] | None = None,
    logger: Logger | bool | None = None,
    profiler: Literal["simple", "advanced"] | None = None,
    detect_anomaly: bool = False,
    fast_dev_run: bool = False,
) -> lightning.Trainer:
    """The part of Lightning's Trainer that means something when one epoch is one iteration.

    Args:
        max_epochs: iterations to run.
        max_time: stop after this long, as DD:HH:MM:SS.
        accelerator: where the networks learn: cpu, gpu or auto.
        devices: how many of them, -1 for all, or which, as in `0,2`.
        precision: of the networks' arithmetic, as Lightning names it.
        callbacks: further callbacks, such as FreezeSchedule.
        logger: where metrics go; by default TensorBoard under the run directory.
        profiler: simple or advanced: where Lightning spends its time.
        detect_anomaly: let autograd say which operation produced a NaN.
        fast_dev_run: one minibatch, no files.
    """
    for callback in callbacks or []:
        if isinstance(callback, EarlyStopping) and callback._check_on_train_epoch_end is None:
            callback._check_on_train_epoch_end = True  # else it waits for validation, which `fit` never runs
    return lightning.Trainer(
        max_epochs=max_epochs,
        max_time=max_time,
        accelerator=accelerator,
        devices=devices,
        precision=precision,
        callbacks=callbacks,
        logger=logger,
        plugins=[WholeCheckpoints(), *slurm_plugins()],
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


BUILDERS: dict[str, Callable[..., Any]] = {  # what parts of a config that name no class are the arguments of
    "trainer": trainer,
    "eval": DeterministicEval,
    "checkpoint": SuccessCheckpoint,
    "pitfalls": Pitfalls,
}


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` when everything has been checked: a refused run leaves nothing behind."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Too early: the module and what is restored from a checkpoint are checked after this."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Everything is built and restored, and nothing has been simulated."""
        super().setup(trainer, pl_module, "fit")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Takes back the empty TensorBoard file, which Lightning opens before anything is checked."""
        if self.already_saved or not isinstance(trainer.logger, TensorBoardLogger):
            return
        trainer.logger.finalize("failed")
        folder = Path(trainer.logger.log_dir)
        for events in folder.glob("events.out.tfevents.*"):
            events.unlink()
        for path in (folder, folder.parent):
            with suppress(OSError):  # something else is in it
                path.rmdir()


class RLFTCli(LightningCLI):
    """LightningCLI for modules and data modules of rlft."""

    arguments: Sequence[str] = ()  # what it was called with, for the report
    configuration: dict[str, Any]  # the resolved one, flattened
    continues = ""  # from which checkpoint, and with which changes

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and refuses a seed that no generator takes."""
        self.arguments = args
        super().parse_arguments(parser, _nulls_as_config(_help_of_plugins(args)))
        seed = self.config[self.config.subcommand].seed_everything
        if isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UserError(f"seed_everything is {seed}; it must be a number from 0 to {2**32 - 1}.")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """`fit` and `validate`."""
        return {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
            "validate": {"model", "dataloaders", "datamodule"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links what the environment and the seed determine; adds the callbacks every run has."""
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        parser.link_arguments(("seed_everything", "data"), "data.init_args.seed", compute_fn=_seed_of_data)
        parser.add_lightning_class_args(DeterministicEval, "eval")
        parser.add_lightning_class_args(SuccessCheckpoint, "checkpoint")
        parser.add_lightning_class_args(Pitfalls, "pitfalls")
        parser.add_argument("--run_name", type=str | None, default=None, help="Name of the run (default: derived).")
        text = "Go on from --ckpt_path with its weights alone: forget Adam's moments."
        parser.add_argument("--reset_optimizer", type=bool, default=False, help=text)
        parser.add_argument("--log_dir", type=str, default="lightning_logs", help="Where run directories are made.")

    def before_instantiate_classes(self) -> None:
        """Decides the run directory and the number of iterations before anything is built."""
        config = self.config[self.subcommand]
        for name in LINKED:
            if config.model.init_args.get(name) is not None:  # the link would replace it without a word
                raise UserError(f"model.{name} follows the data and their environment; it cannot be set.")
        refuse_nulls(config, BUILDERS)
        check_trainer(config.trainer)
        config.run_name = config.run_name or run_name(config)
        _set_iterations(config)
        self.configuration = self._flattened()
        if config.ckpt_path is not None:
            self._read_checkpoint(config)
        elif config.reset_optimizer:
            raise UserError("--reset_optimizer is of use only with --ckpt_path; a new run has a new optimiser.")
        if self.subcommand != "fit":
            self.save_config_callback = None
        if config.trainer.logger is None:
            writes = self.subcommand == "fit" and not config.trainer.fast_dev_run
            self.trainer_defaults["logger"] = _logger(config.log_dir, config.run_name) if writes else False

    def instantiate_classes(self) -> None:
        """Looks for mistakes before the data module builds an environment for its dimensions."""
        subcommand = str(self.subcommand)
        check(self._subcommand_parsers[subcommand], self.config[subcommand])
        super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Adds the progress line and the report, which run after every other callback."""
        if "logger" in self.trainer_defaults:
            kwargs["logger"] = self.trainer_defaults["logger"]
        trainer: Any = super().instantiate_trainer(**kwargs)
        report = RunReport()
        report.command = shlex.join(["rlft", *self.arguments])
        report.configuration, report.continues = self.configuration, self.continues
        self.model.restarts_optimizer = self.config[self.subcommand].reset_optimizer
        report.differences = differences(self.config[self.subcommand], self.parser_defaults())
        ours: list[Any] = [report] if self.subcommand == "fit" else []
        last = [c for c in trainer.callbacks if isinstance(c, SuccessCheckpoint)]
        trainer.callbacks[:] = [c for c in trainer.callbacks if c not in last] + ours + last
        return trainer

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would let hyperparameters in the checkpoint win over the command line."""

    def _flattened(self) -> dict[str, Any]:
        dumped = json.loads(self.parser.dump(self.config, format="json", skip_none=False, skip_validation=True))
        return flattened(dumped[self.subcommand])

    def _read_checkpoint(self, config: Any) -> None:
        """Notes what differs from the run of the checkpoint, if it can go on."""
        path = _checkpoint_path(config)
        content = read_checkpoint(path)
        config.ckpt_path = str(path)
        if self.subcommand != "fit":
            return
        check_continues(path, content, self.configuration)
        self.continues = summary(path, content, self.configuration, resets_optimizer=config.reset_optimizer)

    def parser_defaults(self) -> Any:
        """The configuration of a run without config file or options."""
        return self._subcommand_parsers[str(self.subcommand)].get_defaults(skip_validation=True)


@warnings_of_slurm()
def run(args: Sequence[str], cli: type[RLFTCli] = RLFTCli) -> None:
    """Runs `rlft fit` or `rlft validate` with command-line arguments.

    Args:
        args: the subcommand and its options.
        cli: what is made of them.

    Raises:
        UserError: if something the user can change is wrong.
    """
    _quiet()
    try:
        cli(
            lightning.LightningModule,
            lightning.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            seed_everything_default=1,
            trainer_class=trainer,
            save_config_callback=SaveConfig,
            trainer_defaults={"callbacks": [IterationProgress()]},
            parser_kwargs={
                "exit_on_error": False,
                # A shortened `--seed` would pass for --seed_everything where names are compared whole, as by a study.
                "allow_abbrev": False,
                "fit": _parser(FIT, "rlft fit --config FILE [--option value ...]"),
                "validate": _parser(VALIDATE, "rlft validate --config FILE --ckpt_path FILE [--option value ...]"),
            },
            args=list(args),
            run=True,
        )
    except ArgumentError as error:
        raise (user_error_behind(error) or UserError(one_sentence(str(error)))) from error
    except SIGTERMException as error:
        raise UserError("Ended by SIGTERM; --ckpt_path last goes on after the last complete iteration.") from error
    except OSError as error:
        told = error.filename or not error.strerror
        raise UserError(str(error) if told else f"A file of the run cannot be written: {error.strerror}.") from error
    except (WorkerDied, MisconfigurationException) as error:
        raise UserError(str(error)) from error
    except Exception as error:
        if sentence := user_error_behind(error):
            raise sentence from error
        raise
    finally:
        close_all()


def _help_of_plugins(args: Sequence[str]) -> list[str]:
    """`--model.update.help PPO` does not say whose `update` that is; without a config jsonargparse would not know."""
    command, *options = args
    for part, name in (("model", "FinetuneModule"), ("data", "RolloutDataModule")):
        if any(re.match(rf"--{part}\.\w+\.help\b", option) for option in options):
            options = [f"--{part}={name}", *options]
    return [command, *options]


def _seed_of_data(seed: Any, data: Any) -> Any:
    """Refuses a seed of its own, which the link would replace without a word."""
    own = data.init_args.get("seed") if data else None  # without data, that is what is said next
    if own is not None and own not in (seed, _default_seed(data.class_path)):
        raise UserError(f"data.seed follows seed_everything; it cannot be set to {own}.")
    return seed


def _default_seed(data_module: str) -> Any:
    """Of a data module that may be anybody's, and where the seed of ours is not what somebody has set."""
    parameter = inspect.signature(imported(data_module)).parameters.get("seed")
    return parameter.default if parameter else None


def _nulls_as_config(args: Sequence[str]) -> list[str]:
    """`--model.update.target_kl null` as a piece of config: jsonargparse 4.53 reads the option's null as "None".

    Only options of plug-ins within the model or the data are concerned; what follows still takes precedence.
    """
    rest = list(args)
    found: list[str] = []
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        path = option.removeprefix("--").replace(".init_args", "").split(".")
        if not equals and rest and rest[0] == "null" and len(path) > 2:
            equals, value = "=", rest.pop(0)
        if value == "null" and len(path) > 2 and option.startswith("--"):
            config: dict[str, Any] = {path[-1]: None}
            for key in reversed(path[:-1]):
                config = {key: {"init_args": config}}
            found.append(f"--config={json.dumps(config)}")
        else:
            found.append(option + equals + value)
    return found


def _parser(description: str, usage: str) -> dict[str, Any]:
    return {"description": description, "usage": usage, "exit_on_error": False}


def _set_iterations(config: Any) -> None:
    """`data.total_timesteps` becomes the number of iterations."""
    data = config.data.init_args
    total, batch = data.get("total_timesteps"), data.get("num_envs", 0) * data.get("num_steps", 0)
    if total is not None and batch > 0:  # the data module refuses other sizes
        if total < batch:
            raise UserError(f"data.total_timesteps is {total}, less than one iteration of {batch} env steps.")
        config.trainer.max_epochs = total // batch
    if config.trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs is {config.trainer.max_epochs}; it must be at least 1.")


def _checkpoint_path(config: Any) -> Path:
    """The file that `--ckpt_path` means; `last` is the last one of the newest run of this name that has one."""
    if config.ckpt_path == "last":
        checkpoints = [path / LAST_CHECKPOINT for path in versions(Path(config.log_dir) / config.run_name)]
        found = [path for path in checkpoints if path.is_file()]
        if not found:
            raise UserError(f"No run {config.run_name} under {config.log_dir} has a checkpoint to continue from.")
        return found[-1]
    path = Path(config.ckpt_path)
    if not path.is_file():
        raise UserError(f"--ckpt_path {path} is no file.")
    return path


CANNOT_WRITE = "Cannot write run directories below {}; choose another --log_dir."


class RunLogger(TensorBoardLogger):
    """TensorBoard in a `version_<k>` of its own, also if another run of the same name begins at the same moment."""

    def _get_next_version(self) -> int:
        while True:
            version = int(super()._get_next_version())
            try:
                (Path(self.root_dir) / f"version_{version}").mkdir(parents=True)
            except FileExistsError:  # another run was faster
                continue
            except OSError as error:  # root may write everywhere, or so os.access says
                raise UserError(CANNOT_WRITE.format(self.root_dir)) from error
            return version


def _logger(log_dir: str, name: str) -> TensorBoardLogger:
    """TensorBoard under `log_dir/name/version_k`; a directory that cannot be written shows before the simulation."""
    logger = RunLogger(log_dir, name=name, default_hp_metric=False)
    root = Path(logger.root_dir).absolute()
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(CANNOT_WRITE.format(existing))
    return logger


def _quiet() -> None:
    """Silences what Lightning says to users of its own data loaders and devices."""
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
