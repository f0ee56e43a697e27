"""`rlft fit` and `rlft validate`: LightningCLI with rlft's links, defaults and run directories."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning
import torch
from jsonargparse import ArgumentError
from jsonargparse.typing import class_from_function
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

import rlft.advantage
import rlft.data
import rlft.envs
import rlft.modules
import rlft.update  # noqa: F401  plug-ins are found by short name once they are imported
from rlft.callbacks import (
    DeterministicEval,
    IterationProgress,
    Pitfalls,
    RunReport,
    SuccessCheckpoint,
    TensorBoardOverview,
)
from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.learners import place
from rlft.modules.iteration import IterationModule
from rlft.networks.policy_checks import Mismatch, check_made_for
from rlft.networks.policy_files import in_task, load_policy
from rlft.rollout import WorkerDied, close_all
from rlft.runs.identity import Identity
from rlft.system import taken_by_others
from rlft.training import several_learners
from rlft.training.argv import (
    config_files,
    configs_by_name,
    help_of_plugins,
    nulls_as_config,
    refuse_options_before_configs,
    refuse_unreadable,
)
from rlft.training.checks import check, check_can_share, check_trainer, count_learners, named, refuse_nulls
from rlft.training.config_tree import LINKED, Setting, differences, flattened, imported, put, walk
from rlft.training.error_sentences import lost_log, missing_metric, missing_package, one_sentence, user_error_behind
from rlft.training.resuming import (
    check_continues,
    iterations_done,
    last_of_identity,
    last_of_name,
    read_checkpoint,
    summary,
)
from rlft.training.run_files import SaveConfig, run_logger
from rlft.training.run_identity import content, going_on, identity_of_checkpoint
from rlft.training.run_name import beginning, check_name, is_of, run_name
from rlft.training.slurm import warnings_of_slurm
from rlft.training.trainer import trainer
from rlft.types import EnvSource, Mark, OnRewardChange, ReplaySource

FIT = """Trains a module on a data module, one iteration per epoch, and writes a run directory.

Options of the parts, by name of their class: `--model.help FinetuneModule`, `--data.help RolloutDataModule`,
`--model.advantage.help GAE`, `--model.update.help PPO`, `--data.env.help ManiSkill`. Where a config names a class, its
options follow directly: `--model.advantage.gamma 0.99`, `--data.num_envs 50`, `--model.update PPO`."""
VALIDATE = "Evaluates the checkpoint given by --ckpt_path as `fit` would, with the same configuration."


TRAINER: Any = class_from_function(trainer)  # made once: it looks at the whole stack, three times in every parser
PARSERS: dict[str, Any] = {}  # what `setup_parser` leaves in a command line; the same for all of a process
SECTIONS: dict[str, Callable[..., Any]] = {  # what parts of a config that name no class are the arguments of
    "trainer": trainer,
    "eval": DeterministicEval,
    "checkpoint": SuccessCheckpoint,
    "pitfalls": Pitfalls,
}


class RLFTCli(LightningCLI):
    """LightningCLI for modules and data modules of rlft."""

    arguments: Sequence[str] = ()  # what it was called with, for the report
    settings: Sequence[Setting] = ()  # of the resolved configuration
    identity: Identity
    learners: int = 1
    going_on: Mapping[str, Any] = MappingProxyType({})  # what the report says of a checkpoint that the run goes on from

    def setup_parser(
        self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]
    ) -> None:
        """Makes the parsers of this process, once: a study looks at many configurations."""
        if not PARSERS:
            before = set(vars(self))
            super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
            PARSERS.update({name: value for name, value in vars(self).items() if name not in before})
        vars(self).update(PARSERS)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, and refuses a seed that no generator takes."""
        self.arguments = args
        given = configs_by_name(args)
        refuse_options_before_configs(given)
        refuse_unreadable(config_files(given))
        super().parse_arguments(parser, nulls_as_config(help_of_plugins(given)))
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
        for name in LINKED["model"]:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        parser.link_arguments(("seed_everything", "data"), "data.init_args.seed", compute_fn=_seed_of_data)
        parser.add_lightning_class_args(DeterministicEval, "eval")
        parser.add_lightning_class_args(SuccessCheckpoint, "checkpoint")
        parser.add_lightning_class_args(Pitfalls, "pitfalls")
        parser.add_argument("--run_name", type=str | None, default=None, help="Name of the run (default: derived).")
        text = "Task of the zoo whose policies stand in for those that the config names: its weak for pickcube/weak."
        parser.add_argument("--zoo", type=str | None, default=None, help=text)
        text = "Go on from --ckpt_path with its weights alone: forget Adam's moments."
        parser.add_argument("--reset_optimizer", type=bool, default=False, help=text)
        text = "What becomes of a replay buffer's experience where --ckpt_path is of a run with another reward."
        parser.add_argument("--on_reward_change", type=OnRewardChange, default="refuse", help=text)
        text = "In what the environment may differ from those that the policies' files say they were made for."
        parser.add_argument("--accept_mismatch", type=list[Mismatch], default=[], help=text)
        parser.add_argument("--log_dir", type=str, default="lightning_logs", help="Where run directories are made.")

    def _tell_of_others(self) -> None:
        """Says what slows a run down, before it has workers of its own, which would count as others."""
        cores, threads, others = os.cpu_count() or 1, torch.get_num_threads(), taken_by_others()
        if threads > 1 and cores - others < threads - 0.5:
            told = (
                f"other processes have {others:.1f} of {cores} cores; beside them one thread is faster than {threads}"
            )
            print(f"rlft: {told}: OMP_NUM_THREADS=1 rlft fit ...", file=sys.stderr, flush=True)

    def before_instantiate_classes(self) -> None:
        """Decides what the run is, and the number of iterations, before anything is built."""
        if self.subcommand == "fit":
            self._tell_of_others()
        config = self.config[self.subcommand]
        config.log_dir = str(typed_path(config.log_dir))
        check_name(config.run_name)
        for name in LINKED["model"]:
            if config.model.init_args.get(name) is not None:  # the link would replace it without a word
                raise UserError(f"model.{name} follows the data and their environment; it cannot be set.")
        given = self._settings(self.config)
        refuse_nulls(given)
        check_trainer(config.trainer)
        self.learners = count_learners(config.trainer)
        check_can_share(config, str(self.subcommand), self.learners)
        epochs = config.trainer.max_epochs
        _set_iterations(config)
        if config.trainer.max_epochs != epochs and any(a.startswith("--trainer.max_epochs") for a in self.arguments):
            raise UserError(
                f"--trainer.max_epochs is {epochs}, but data.total_timesteps, {config.data.init_args.total_timesteps}, "
                f"makes it {config.trainer.max_epochs}; give another --data.total_timesteps, or null for it."
            )
        self._take_from_zoo(self.config, given)
        changed = config.zoo is not None or config.trainer.max_epochs != epochs
        self.settings = self._settings(self.config) if changed else given
        self.identity = Identity(content(self.settings), config.seed_everything)
        has_name = config.run_name and is_of(config.run_name, self.identity)
        if config.ckpt_path is not None:
            self._read_checkpoint(config, Path(config.log_dir) / config.run_name if has_name else None)
        elif config.reset_optimizer:
            raise UserError("--reset_optimizer is of use only with --ckpt_path; a new run has a new optimiser.")
        elif config.on_reward_change != "refuse":
            raise UserError("--on_reward_change is of use only with --ckpt_path; a new run has no experience yet.")

    def _take_from_zoo(self, config: Any, settings: Sequence[Setting]) -> None:
        """Puts the policies of another task, if one is named, in the place of those of the zoo."""
        own = config[self.subcommand]
        if own.zoo is None:
            return
        for setting in settings:
            if Mark.POLICY not in setting.marks or setting.value is None:
                continue
            names = setting.value if isinstance(setting.value, list) else [setting.value]
            others = [in_task(name, own.zoo) for name in names]
            put(own, setting.path, others if isinstance(setting.value, list) else others[0])

    def instantiate_classes(self) -> None:
        """Looks for mistakes before the data module builds an environment for its dimensions."""
        subcommand = str(self.subcommand)
        check(self._subcommand_parsers[subcommand], self.config[subcommand], self.settings)
        self._gather(self.config[subcommand].ckpt_path)
        self._name_run(self.config[subcommand])
        super().instantiate_classes()
        self._look_at_policies()

    def _gather(self, checkpoint: str | None) -> None:
        """Starts the other learners, if there are to be some, with the checkpoint that this one goes on from."""
        same = [] if checkpoint is None else [f"--ckpt_path={checkpoint}"]
        several_learners.gather(self.learners, run, [*self.arguments, *same])

    def _name_run(self, config: Any) -> None:
        """Decides where the run writes, if it does."""
        if not (config.run_name and is_of(config.run_name, self.identity)):
            config.run_name = self._run_name()
        if self.subcommand != "fit":
            self.save_config_callback = None
        if config.trainer.logger in (None, True):  # Lightning's own would not know of log_dir and run_name
            writes = self.subcommand == "fit" and not config.trainer.fast_dev_run and place().rank == 0
            self.trainer_defaults["logger"] = run_logger(config.log_dir, config.run_name) if writes else False

    def _look_at_policies(self) -> None:
        """Refuses policies, whatever they are for, that were made for another environment than the run's."""
        model, data = self.model, self.datamodule
        if not (isinstance(model, IterationModule) and isinstance(data, EnvSource)):  # of a user, who knows best
            return
        described, accepted = data.env.describe(data.rollouts.spec), self.config[self.subcommand].accept_mismatch
        used = [
            name for key, name in named(self.settings, Mark.POLICY) if key.removeprefix("model.") not in model.unused
        ]
        for name in dict.fromkeys(used):
            model.notes += check_made_for(load_policy(name), described, accepted)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Adds the progress line and the report, which run after every other callback."""
        if "logger" in self.trainer_defaults:
            kwargs["logger"] = self.trainer_defaults["logger"]
        trainer: Any = super().instantiate_trainer(**kwargs)
        self.model.restarts_optimizer = self.config[self.subcommand].reset_optimizer
        different = differences(self.settings, dict(self.parser_defaults().items(branches=False)))
        self._settle_rewards(self.config[self.subcommand].on_reward_change)
        report = RunReport(
            self.arguments,
            self.identity,
            different,
            {**flattened(self.settings), "run_name": self.config[self.subcommand].run_name},
            **self.going_on,
        )
        overview = TensorBoardOverview({**different, "seed_everything": self.identity.seed})
        ours: list[Any] = [report, overview] if self.subcommand == "fit" else []
        last = [c for c in trainer.callbacks if isinstance(c, SuccessCheckpoint)]
        trainer.callbacks[:] = [c for c in trainer.callbacks if c not in last] + ours + last
        return trainer

    def _settle_rewards(self, how: OnRewardChange) -> None:
        """Tells the data what becomes of experience that has another reward."""
        if isinstance(self.datamodule, ReplaySource):
            self.datamodule.on_reward_change = how
        elif how != "refuse":
            kind = type(self.datamodule).__name__
            raise UserError(f"--on_reward_change is about a replay buffer; data {kind} has none.")

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would let hyperparameters in the checkpoint win over the command line."""

    def _settings(self, config: Any) -> list[Setting]:
        dumped = json.loads(self.parser.dump(config, format="json", skip_none=False, skip_validation=True))
        return list(walk(dumped[self.subcommand], SECTIONS))

    def _run_name(self) -> str:
        """Derived from the configuration, and from what the config files alone would make of it."""
        files = config_files(configs_by_name(self.arguments))
        with suppress(ArgumentError, UserError):  # files that say only a part of it: the defaults will do
            return run_name(self.identity, self.settings, self._settings_of(files), [beginning(file) for file in files])
        return run_name(self.identity, self.settings, [], [])

    def _settings_of(self, files: Sequence[Path]) -> list[Setting]:
        """Of a run of these config files without options."""
        if not files:
            return []
        config = self.parser.parse_args([str(self.subcommand), *(f"--config={file}" for file in files)])
        settings = self._settings(config)
        self._take_from_zoo(config, settings)
        return settings if config[str(self.subcommand)].zoo is None else self._settings(config)

    def _read_checkpoint(self, config: Any, folder: Path | None) -> None:
        """Notes what differs from the run of the checkpoint, if it can go on; `last` may be that of a named folder."""
        log_dir = Path(config.log_dir)
        if config.ckpt_path != "last":
            path = typed_path(config.ckpt_path)
        elif folder is not None:
            path = last_of_name(folder)
        else:
            path = last_of_identity(log_dir, self.identity, self.settings, SECTIONS)
        saved, config.ckpt_path = read_checkpoint(path), str(path)
        if self.subcommand != "fit":
            return
        check_continues(path, saved, self.settings)
        done, resets = iterations_done(saved), config.reset_optimizer
        before = identity_of_checkpoint(path, saved, SECTIONS)
        rewards = config.on_reward_change
        self.identity = going_on(self.identity, self.settings, before, done, resets=resets, rewards=rewards)
        told = summary(path, saved, self.settings, resets_optimizer=resets)
        self.going_on = {"continues": told, "checkpoint": str(path), "checkpoint_iterations": done}
        run = path.absolute().parent.parent.parent
        if folder is None and self.identity.continues == before.continues and run.parent == log_dir.absolute():
            config.run_name = run.name

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
            trainer_class=TRAINER,
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
        several_learners.await_others()
    except ArgumentError as error:
        raise (user_error_behind(error) or UserError(one_sentence(str(error), _options(args[0])))) from error
    except SIGTERMException as error:
        asked = "Ended by SIGTERM; --ckpt_path last goes on after the last complete iteration."
        raise UserError(several_learners.lost() or asked) from error
    except OSError as error:
        told = error.filename or not error.strerror
        raise UserError(str(error) if told else f"A file of the run cannot be written: {error.strerror}.") from error
    except (WorkerDied, MisconfigurationException) as error:
        raise UserError(str(error)) from error
    except Exception as error:
        if sentence := user_error_behind(error):
            raise sentence from error
        told = several_learners.lost(several_learners.GRACE)
        if told := told or missing_package(error) or missing_metric(error) or lost_log(error):
            raise UserError(told) from error
        raise
    finally:
        close_all()
        several_learners.leave()


def _options(subcommand: str) -> list[str]:
    """Of `fit` or `validate`, but not those of the classes that a config names."""
    return list(PARSERS["_subcommand_parsers"][subcommand].get_defaults(skip_validation=True).keys())


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


def _parser(description: str, usage: str) -> dict[str, Any]:
    return {"description": description, "usage": usage, "exit_on_error": False}


def _set_iterations(config: Any) -> None:
    """`data.total_timesteps` becomes the number of iterations."""
    data = config.data.init_args
    total, batch = data.get("total_timesteps"), data.get("num_envs", 0) * data.get("num_steps", 0)
    if total is not None and batch > 0:  # the data module refuses other sizes
        if total < batch:
            raise UserError(f"data.total_timesteps is {total}, less than one iteration of {batch} env steps.")
        config.trainer.max_epochs = data.get("offline_iterations", 0) + total // batch
    if config.trainer.max_epochs < 1:
        raise UserError(f"trainer.max_epochs is {config.trainer.max_epochs}; it must be at least 1.")


def _quiet() -> None:
    """Silences what Lightning says to users of its own data loaders and devices."""
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
