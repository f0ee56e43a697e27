"""Command-line arguments, before jsonargparse sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

import rlft.data
import rlft.modules
from rlft.errors import UserError, one_line
from rlft.files.own_configs import LISTED, config_path, is_file, no_config
from rlft.files.unique_keys import UniqueKeys

USUAL = ("FinetuneModule", "RolloutDataModule")


def help_of_plugins(args: Sequence[str]) -> list[str]:
    """`--model.update.help PPO` does not say whose `update` that is; without a config jsonargparse would not know."""
    command, *options = args
    for part, package in (("model", rlft.modules), ("data", rlft.data)):
        found = (re.match(rf"--{part}\.(\w+)\.help\b", option) for option in options)
        if asked := next(filter(None, found), None):
            options = [f"--{part}={_taking(asked[1], package)}", *options]
    return [command, *options]


def _taking(argument: str, package: ModuleType) -> str:
    """The class that is meant: of those with such an argument the one that most configs have, if it is among them."""
    names: list[str] = sorted(package.__all__, key=lambda name: name not in USUAL)
    return next((name for name in names if argument in signature(getattr(package, name)).parameters), names[0])


def configs_by_name(args: Sequence[str]) -> list[str]:
    """`fit gae_ppo smoke` as `fit --config=FILE --config=FILE`; what is given as text stays text."""
    command, *options = args
    first = next((i for i, arg in enumerate(options) if arg.startswith("-")), len(options))
    names, rest = options[:first], options[first:]
    if unknown := [name for name in names if not is_file(config_path(name))]:
        raise no_config(unknown[0])
    given = [f"--config={config_path(name)}" for name in names]
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if option != "--config":
            given.append(option + equals + value)
        elif equals or rest:
            value = value if equals else rest.pop(0)
            if not value:
                raise UserError(f"--config is empty; it must name a config, such as gae_ppo; {LISTED}.")
            path = config_path(value)
            given.append(f"--config={path if is_file(path) else value}")
        else:  # without a value, which jsonargparse refuses
            given.append(option)
    return [command, *given]


def refuse_options_before_configs(args: Sequence[str]) -> None:
    """Of `configs_by_name`: what a config says lies over the options before it, which nobody expects.

    Raises:
        UserError: if a config file comes after another option.
    """
    before = ""
    for arg in args[1:]:
        option = arg.partition("=")[0]
        if before and config_files([arg]):
            raise UserError(f"{before} stands before {arg}, which would lie over it; put options after configs.")
        if option.startswith("--") and option not in ("--config", "--print_config") and not option.endswith("help"):
            before = before or option


def config_files(args: Sequence[str]) -> list[Path]:
    """Of `configs_by_name`, the config files in their order; what is given as text is none."""
    named = (arg.removeprefix("--config=") for arg in args if arg.startswith("--config="))
    return [path for path in map(Path, named) if is_file(path)]


def refuse_unreadable(files: Iterable[Path]) -> None:
    """Looks whether config files are text, and say everything once.

    Raises:
        UserError: if one is not, or says nothing.
    """
    for file in files:
        try:
            content = yaml.load(file.read_text(encoding="utf-8"), UniqueKeys)
        except UnicodeDecodeError as error:
            raise UserError(f"The config {file} is not UTF-8 from byte {error.start} on; save it as UTF-8.") from error
        except yaml.YAMLError as error:
            raise UserError(f"The config {file} is no YAML: {one_line(error)}.") from error
        if not isinstance(content, dict):
            kind = "empty" if content is None else "no mapping"
            raise UserError(f"The config {file} is {kind}; it must map names to values, as `rlft configs smoke` does.")


def nulls_as_config(args: Sequence[str]) -> list[str]:
    """`--model.update.target_kl null` as a piece of config: jsonargparse 4.53 reads the option's null as "None".

    Only options of plug-ins within the model or the data are concerned; what follows still takes precedence.
    """
    rest = list(args)
    found: list[str] = []
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        path = option.removeprefix("--").replace(".init_args", "").split(".")
        of_plugin = option.startswith("--") and len(path) > 2 and path[0] in ("model", "data")
        if not equals and rest and rest[0] == "null" and of_plugin:
            equals, value = "=", rest.pop(0)
        if value == "null" and of_plugin:
            config: dict[str, Any] = {path[-1]: None}
            for key in reversed(path[:-1]):
                config = {key: {"init_args": config}}
            found.append(f"--config={json.dumps(config)}")
        else:
            found.append(option + equals + value)
    return found
