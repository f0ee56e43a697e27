"""Mistakes that show without an environment, before one is built: with a simulator that takes many seconds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal, get_args, get_origin

import torch
from jsonargparse import ArgumentParser, Namespace, dict_to_namespace
from lightning import LightningDataModule

from rlft.errors import UserError, require
from rlft.files.folders import typed_path
from rlft.modules.iteration import IterationModule
from rlft.networks import GaussianActor
from rlft.networks.policy_files import load_policy
from rlft.training.config_tree import Setting, imported, members, parameters
from rlft.types import Actor, Mark

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def refuse_nulls(settings: Iterable[Setting]) -> None:
    """Refuses `null` where a constructor takes none; jsonargparse takes it everywhere.

    Raises:
        UserError: if there is one.
    """
    for setting in settings:
        kinds = members(setting.parameter.hint)
        if setting.value is None and setting.parameter.default is not None and not {type(None), Any, object} & {*kinds}:
            choices = get_args(kinds[0]) if get_origin(kinds[0]) is Literal else ()
            allowed = f"one of {', '.join(map(str, choices))}" if choices else KINDS.get(kinds[0], "given")
            raise UserError(f"{setting.key} is null; it must be {allowed}.")


def check_trainer(settings: Namespace) -> None:
    """Refuses what Lightning's Trainer would refuse only when the environments have been built.

    Raises:
        UserError: if there is something.
    """
    time = settings.max_time
    right = time is None or re.fullmatch(r"\d+:\d\d:\d\d:\d\d", time) is not None
    require(right, "trainer.max_time", time, "a time as DD:HH:MM:SS, or null")


def count_learners(settings: Namespace) -> int:
    """How many learners a trainer's settings ask for.

    Raises:
        UserError: if `devices` is no number of devices, or there are not as many.
    """
    devices, gpus = str(settings.devices), 0 if settings.accelerator == "cpu" else torch.cuda.device_count()
    if devices in ("-1", "auto"):
        return max(1, gpus)
    right = re.fullmatch(r"[1-9]\d*|(\d+,)+\d*", devices) is not None
    require(right, "trainer.devices", settings.devices, "how many learners, or which devices, as in '0,1'")
    which = {int(number) for number in devices.strip(",").split(",")} if "," in devices else {*range(int(devices))}
    if len(which) > 1 and (gpus or "," in devices or settings.accelerator in ("gpu", "cuda")):
        require(max(which) < gpus, "trainer.devices", settings.devices, f"among the GPUs, of which there are {gpus}")
    return len(which)


def check_can_share(config: Namespace, command: str, count: int) -> None:
    """Refuses several learners for what they cannot share.

    Raises:
        UserError: if there is something.
    """
    if count == 1:
        return
    if command != "fit":
        raise UserError(f"trainer.devices is {config.trainer.devices}; rlft {command} works on 1 device.")
    for key, usable in (("model", "FinetuneModule"), ("data", "RolloutDataModule")):
        path = config[key].class_path
        if not getattr(imported(path), "shareable", False):
            name = path.rpartition(".")[2]
            raise UserError(
                f"trainer.devices asks for {count} learners, but {key} {name} has only one; several can share "
                f"FinetuneModule with RolloutDataModule. Set trainer.devices to 1, or {key} to {usable}."
            )


def look_for_files(settings: Sequence[Setting]) -> None:
    """Reads the policies that arguments name, and looks for files of data.

    Raises:
        UserError: if one is missing, or is something else.
    """
    for _, name in named(settings, Mark.POLICY):
        load_policy(name)
    for key, name in named(settings, Mark.DATA_FILE):
        if not typed_path(name).is_file():
            raise UserError(f"{key} {name} is no file.")


def named(settings: Iterable[Setting], mark: Mark) -> list[tuple[str, str]]:
    """Key and value of every argument with a mark that names something, one by one where it is a list."""
    marked = [setting for setting in settings if mark in setting.marks]
    values = [(one.key, one.value if isinstance(one.value, list) else [one.value]) for one in marked]
    return [(key, name) for key, names in values for name in names if name is not None]


def check(parser: ArgumentParser, config: Namespace, settings: Sequence[Setting]) -> None:
    """Builds everything once without environments, and drops it: constructors refuse what is wrong in any of them.

    Lightning builds the data, then asks them for the dimensions of networks, which takes an environment, then builds
    everything else. This is the one place where something is built twice, so that a mistake costs no simulator.

    Args:
        parser: of the whole configuration.
        config: what it has parsed.
        settings: in it.

    Raises:
        UserError: if a constructor refuses its arguments, or there is no such policy or data set.
    """
    look_for_files(settings)
    others = config.clone()
    others.model = others.data = None  # without a source, links do nothing
    parser.instantiate(others)
    with torch.random.fork_rng(devices=[]):  # a run's own networks are drawn later
        if config.data.class_path.startswith("rlft."):  # others may do more in a constructor than is wanted twice
            data: Any = _built({"data": (LightningDataModule, config.data)})["data"]
            data.data_policy  # noqa: B018  reads what there is of a data set
        _check_module(config.model, settings)


def _built(parts: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Instances of parts of a configuration, given by their type and what has been parsed."""
    parser = ArgumentParser(exit_on_error=False)
    for name, (kind, _) in parts.items():
        parser.add_argument(f"--{name}", type=kind)
    chosen = dict_to_namespace({name: parsed for name, (_, parsed) in parts.items()})
    return dict(parser.instantiate(chosen).as_dict())


def _check_module(config: Namespace, settings: Iterable[Setting]) -> None:
    """Builds plug-ins and networks, the latter small, and the module as far as it gets without dimensions."""
    module = imported(config.class_path)
    given = config.as_dict().get("init_args") or {}
    kinds = {name: parameter.hint for name, parameter in parameters(module).items()}
    named = {
        setting.key.split(".")[1] for setting in settings if setting.key.startswith("model.") and setting.class_path
    }
    built = _built({name: (kinds[name], given[name]) for name in named})
    for name in built:
        for kind in members(kinds[name]):
            if get_origin(kind) is Callable:
                _check_network(name, built[name], get_args(kind)[0])
    if issubclass(module, IterationModule):
        _check_constructor(module, {**given, **built})


def _check_network(name: str, build: Callable[..., Any], kinds: Sequence[Any]) -> None:
    """Builds one of 1 number each, or of a small actor."""
    try:
        build(*[GaussianActor(1, 1, 1, 1) if kind is Actor else 1 for kind in kinds])
    except UserError as error:
        raise UserError(f"model.{name}: {error}") from error


class _Unknown:
    """Stands for a dimension that only an environment has; a constructor that uses it has checked all it can before."""

    class Used(Exception):
        """A dimension was needed."""

    def __index__(self) -> int:
        raise self.Used

    def __eq__(self, other: object) -> bool:
        raise self.Used

    __hash__ = None  # type: ignore[assignment]


def _check_constructor(module: type[IterationModule], arguments: dict[str, Any]) -> None:
    dimensions = {name: _Unknown() for name in ("obs_dim", "action_dim")}
    with suppress(_Unknown.Used, TypeError):  # the latter is how torch says that it needs a number
        module(**{**arguments, **dimensions})
