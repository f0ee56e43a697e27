"""Mistakes that show without an environment, before one is built: with a simulator that takes many seconds."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import torch
from jsonargparse import ArgumentParser, Namespace, dict_to_namespace
from lightning import LightningDataModule

from rlft.advantage import AdvantageEstimator
from rlft.errors import UserError, require
from rlft.modules.iteration import IterationModule
from rlft.networks.policy_files import load_policy
from rlft.training.run_name import imported
from rlft.types import Actor, Critic
from rlft.update import PolicyUpdate

PLUGINS: dict[str, Any] = {  # arguments of modules that are built for the check, and their types
    "advantage": AdvantageEstimator,
    "update": PolicyUpdate,
    "actor": Callable[[int, int], Actor],
    "critic": Callable[[int], Critic],
}
OURS = ("rlft.", "callbacks.")  # how the class paths of classes begin that we may look into
POLICIES = ("policy", "inject_from", "critic_policy", "demonstrator", "states_policy")  # arguments that name one
DIMENSIONS = ("obs_dim", "action_dim")  # not known before an environment is built
SAID = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def refuse_nulls(config: Namespace, builders: Mapping[str, Callable[..., Any]]) -> None:
    """Refuses `null` where a constructor takes none; jsonargparse takes it everywhere.

    Args:
        config: what has been parsed.
        builders: of the parts of it that name no class.

    Raises:
        UserError: if there is one.
    """
    parts: dict[str, Any] = config.as_dict()
    for key, builder in builders.items():
        _refuse_nulls(key, builder, parts[key])
    for key in ("model", "data"):
        _refuse_nulls(key, imported(parts[key]["class_path"]), parts[key]["init_args"])


def _refuse_nulls(where: str, builder: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    hints = get_type_hints(builder.__init__ if inspect.isclass(builder) else builder)
    for name, value in arguments.items():
        hint = hints.get(name)
        if value is None and name not in DIMENSIONS and hint is not None and type(None) not in get_args(hint):
            choices = get_args(hint) if get_origin(hint) is Literal else ()
            allowed = f"one of {', '.join(map(str, choices))}" if choices else SAID.get(hint, "given")
            raise UserError(f"{where}.{name} is null; it must be {allowed}.")
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping) and "class_path" in part:
                kind = part["class_path"]
                if kind.startswith(OURS):
                    place = f"{where}.{name}" + (f" ({kind.rpartition('.')[2]})" if isinstance(value, list) else "")
                    _refuse_nulls(place, imported(kind), part.get("init_args") or {})
            elif isinstance(part, Mapping) and dataclasses.is_dataclass(element := (get_args(hint) or (None,))[0]):
                _refuse_nulls(f"{where}.{name}", cast(type, element), part)


def _look_for_policies(node: Any) -> None:
    """Reads the policies that arguments of ours name."""
    if isinstance(node, list):
        for part in node:
            _look_for_policies(part)
    elif isinstance(node, Mapping):
        ours = str(node.get("class_path")).startswith(OURS)
        arguments = node.get("init_args") or {}
        for name in POLICIES if ours else ():
            if arguments.get(name) is not None:
                load_policy(arguments[name])
        for part in node.values():
            _look_for_policies(part)


def check_trainer(settings: Namespace) -> None:
    """Refuses what Lightning's Trainer would refuse only when the environments have been built.

    Raises:
        UserError: if there is something.
    """
    time, devices = settings.max_time, settings.devices
    right = time is None or re.fullmatch(r"\d+:\d\d:\d\d:\d\d", time) is not None
    require(right, "trainer.max_time", time, "a time as DD:HH:MM:SS, or null")
    pattern = r"-1|[1-9]\d*" if isinstance(devices, int) else r"auto|\d+(,\d+)*"
    right = re.fullmatch(pattern, str(devices)) is not None
    require(right, "trainer.devices", devices, "a number from 1, -1 for all, auto, or which of them, as in 0,2")


def check(parser: ArgumentParser, config: Namespace) -> None:
    """Builds everything but the module, and drops it; the module checks its numbers, and policies are looked for.

    Args:
        parser: of the whole configuration.
        config: what it has parsed.

    Raises:
        UserError: if a constructor refuses its arguments, or there is no such policy or data set.
    """
    others = config.clone()
    others.model = others.data = None  # without a source, links do nothing
    parser.instantiate(others)
    settings: dict[str, Any] = config.model.init_args.as_dict()
    plugins = ArgumentParser(exit_on_error=False)
    for name in PLUGINS.keys() & settings.keys():
        plugins.add_argument(f"--{name}", type=PLUGINS[name])
    chosen = dict_to_namespace({name: settings[name] for name in PLUGINS if name in settings})
    if config.data.class_path.startswith("rlft."):  # others may do more in a constructor than is wanted twice
        plugins.add_argument("--data", type=LightningDataModule)
        chosen.data = config.data
    built = plugins.instantiate(chosen).as_dict()
    with torch.random.fork_rng(devices=[]):  # a run's own networks are drawn later
        for name, dims in (("actor", (1, 1)), ("critic", (1,))):
            try:
                if name in built:
                    built[name](*dims)
            except UserError as error:
                raise UserError(f"model.{name}: {error}") from error
    if "data" in built:
        built.pop("data").data_policy  # noqa: B018  reads what there is of a data set
    _look_for_policies(config.as_dict())
    module = imported(config.model.class_path)
    if issubclass(module, IterationModule):
        module.check({**settings, **built})
