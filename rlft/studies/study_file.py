"""The file of a study: reading it, and saying what is wrong with it before anything runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rlft.errors import UserError, one_line
from rlft.files.own_configs import config_path, is_file, no_config
from rlft.files.unique_keys import UniqueKeys
from rlft.studies.values import twice

STUDY_KEYS = ("name", "config", "options", "grid", "seeds", "tasks", "expert", "prepare", "arms")
ARM_KEYS = ("config", "options", "grid")
PREPARATION_KEYS = ("command", "config", "options", "for_each")
COMMANDS = ("collect", "evaluate", "rank")  # that may prepare, beside fit
DECIDED = {"config": "config has a key of its own", "log_dir": "the study decides", "run_name": "the study decides"}
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
PLACEHOLDER = re.compile(rf"\{{({NAME.pattern})\}}")
SEED = "seed"
TASK = "task"
HERE = "here"
RESERVED = (SEED, TASK, HERE)


@dataclass(frozen=True)
class Part:
    """An arm or a preparation: what its runs have in common."""

    name: str
    preparation: bool
    command: tuple[str, ...]  # of rlft, with its positional arguments
    configs: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]  # as on the command line: of the same option, the last one wins
    grid: Mapping[str, tuple[Any, ...]]  # option: values; nothing in a preparation, which follows the runs that need it
    axes: tuple[str, ...]  # there is one run for each value of these: options of the grid, `seed`, `task`

    def where(self) -> str:
        """How messages call it."""
        return f"{'preparation' if self.preparation else 'arm'} {self.name}"


@dataclass(frozen=True)
class StudyFile:
    """A study as its file says it."""

    path: Path  # of the file
    name: str
    seeds: tuple[int, ...]
    parts: Mapping[str, Part]
    tasks: Mapping[str, Mapping[str, Any]]  # what placeholders stand for in the runs of each task; none without tasks
    expert: str = ""  # the policy that has a normalised score of 1, with placeholders


def read_study(path: Path) -> StudyFile:
    """Reads and checks the file.

    Raises:
        UserError: if it cannot be read, or something in it is unknown, missing, empty or there twice.
    """
    try:
        content = yaml.load(path.read_text(), UniqueKeys)
    except FileNotFoundError as error:
        raise no_config(str(path), "study") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The study {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {one_line(error)}.") from error
    try:
        json.dumps(content, default=str)
    except ValueError as error:
        raise UserError(f"{path} has an alias within what it stands for; a study ends somewhere.") from error
    study = _mapping(content, str(path), STUDY_KEYS)
    own = _name(study.get("name", path.stem), f"{path}: name")
    seeds = _seeds(study.get("seeds"), str(path))
    common = {"config": _strings(study, "config", str(path)), "options": _options(study, str(path))}
    grid = _grid(study, str(path))
    tasks = _tasks(study, path)
    expert = _expert(study, tasks, path)
    always = (TASK, SEED) if tasks else (SEED,)
    parts = [_preparation(key, value, path) for key, value in _parts(study, "prepare", path).items()]
    parts += [_arm(key, value, path, common, grid, always) for key, value in _parts(study, "arms", path).items()]
    names = [part.name for part in parts]
    for name in {one for one in names if names.count(one) > 1}:
        raise UserError(f"{path}: {name} is the name of a preparation and of an arm; give one of them another.")
    if all(part.preparation for part in parts):
        raise UserError(f"{path} has no arms; a study has at least one.")
    for name in {variable for values in tasks.values() for variable in values}.intersection(names):
        raise UserError(f"{path}: {name} is the name of an arm or a preparation and of a value of tasks; rename one.")
    return StudyFile(path, own, seeds, {part.name: part for part in parts}, tasks, expert)


def _tasks(study: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    """Names and values of every task, all of which have the same names."""
    tasks: dict[str, Mapping[str, Any]] = {}
    for name, value in _parts(study, "tasks", path).items():
        where = f"{path}: tasks: {_name(name, f'{path}: tasks')}"
        tasks[name] = _mapping({} if value is None else value, where)
        for variable in tasks[name]:
            _name(variable, where)
        first = next(iter(tasks))
        if missing := sorted(set(tasks[first]) ^ set(tasks[name])):
            raise UserError(f"{where} and {first} do not have the same values; {missing[0]} is in one of them alone.")
    return tasks


def _expert(study: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]], path: Path) -> str:
    texts = _strings(study, "expert", str(path))
    if not texts:
        return ""
    known = {TASK, *next(iter(tasks.values()), {})}
    unknown = sorted(set(PLACEHOLDER.findall(texts[0])) - known)
    if len(texts) > 1 or not tasks or unknown:
        named = ", ".join(f"{{{name}}}" for name in sorted(known))
        raise UserError(
            f"{path}: expert is {study['expert']}; it names one policy, in a study with tasks, with no other "
            f"placeholders than {named}."
        )
    return texts[0]


def _arm(
    name: str,
    value: Any,
    path: Path,
    common: Mapping[str, Any],
    common_grid: Mapping[str, Any],
    always: tuple[str, ...],
) -> Part:
    where = f"{path}: arms: {_name(name, f'{path}: arms')}"
    arm = _mapping({} if value is None else value, where, ARM_KEYS)
    options = (*common["options"], *_options(arm, where))
    if any(option == "seed_everything" for option, _ in options):
        raise UserError(f"{where}: seed_everything is no option of an arm; the seeds of the study decide.")
    configs = (*common["config"], *_strings(arm, "config", where))
    _check_configs(configs, where)
    grid = {**common_grid, **_grid(arm, where)}
    return Part(name, False, ("fit",), configs, options, grid, (*grid, *always))


def _preparation(name: str, value: Any, path: Path) -> Part:
    where = f"{path}: prepare: {_name(name, f'{path}: prepare')}"
    preparation = _mapping({} if value is None else value, where, PREPARATION_KEYS)
    command = _strings(preparation, "command", where) or ("fit",)
    configs = _strings(preparation, "config", where)
    axes = _strings(preparation, "for_each", where)
    if command == ("fit",):
        _check_configs(configs, where)
    elif command[0] not in COMMANDS:
        raise UserError(f"{where}: command is {command[0]}; without one it is fit, else one of {', '.join(COMMANDS)}.")
    elif configs or set(axes) - {SEED, TASK}:
        raise UserError(f"{where}: config and for_each an option are for fit; {command[0]} has neither.")
    return Part(name, True, command, configs, _options(preparation, where), {}, axes)


def _check_configs(configs: tuple[str, ...], where: str) -> None:
    if not configs:
        raise UserError(f"{where} has no config; name the file that its runs are based on.")
    for config in configs:
        if not is_file(config_path(config)):
            raise UserError(f"{where}: config {config} is no file in {Path.cwd()}, and none of rlft's own.")


def _parts(study: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    return _mapping(study.get(key) or {}, f"{path}: {key}")


def _options(part: Mapping[str, Any], where: str) -> tuple[tuple[str, Any], ...]:
    options = _mapping(part.get("options") or {}, f"{where}: options")
    for option in options:
        if option in DECIDED:
            raise UserError(f"{where}: {option} is no option here; {DECIDED[option]}.")
    return tuple(options.items())


def _grid(part: Mapping[str, Any], where: str) -> dict[str, tuple[Any, ...]]:
    grid = _mapping(part.get("grid") or {}, f"{where}: grid")
    for option, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: grid: {option} is {values}; it must be a list of at least one value.")
        if same := twice(values):
            raise UserError(
                f"{where}: grid: {option} is {values}, with a value that is there twice: {same[0]} and {same[1]}."
            )
        if option in (*DECIDED, SEED, TASK, "seed_everything"):
            raise UserError(f"{where}: grid: {option} is no option to vary; seeds and tasks have keys of their own.")
    return {option: tuple(values) for option, values in grid.items()}


def _seeds(seeds: Any, where: str) -> tuple[int, ...]:
    numbers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"{where}: seeds is {seeds}; it must be a list of different whole numbers, such as [1, 2, 3].")
    return tuple(seeds)


def _strings(part: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """One text, or a list of them."""
    value = part.get(key)
    texts = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in texts):
        raise UserError(f"{where}: {key} is {value}; it must be a text or a list of texts.")
    return tuple(texts)


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise UserError(
            f"{where}: {name} is no name to use; letters, digits and . _ + - make one, except {', '.join(RESERVED)}."
        )
    return name


def _mapping(value: Any, where: str, keys: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{where} is {value}; it must be a mapping of names to values.")
    for key in value:
        if keys is not None and key not in keys:
            raise UserError(f"{where}: there is no key {key}; the keys are {', '.join(keys)}.")
    return value
