"""One walk over a resolved configuration; what is asked of one is a filter over the settings that the walk finds."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from rlft.types import Mark

Sections = Mapping[str, Callable[..., Any]]  # what the parts of a configuration that name no class are arguments of
LINKED = {  # arguments that follow something else: never in a file, and not for users
    "model": ("obs_dim", "action_dim", "privileged_dim", "reward_mode", "data_policy"),  # the data, their environment
    "data": ("seed",),  # seed_everything
}
INHERITED = {Mark.IRRELEVANT, Mark.LENGTH, Mark.START}  # what is true of an argument is true of all that is within it


class Parameter(NamedTuple):
    """Of a constructor or a function."""

    hint: Any = Any
    default: Any = inspect.Parameter.empty


NO_PARAMETER = Parameter()


@dataclasses.dataclass(frozen=True)
class Setting:
    """One value of a configuration, or one class that it names.

    Attributes:
        key: dotted, without `init_args`; a class in a list has its name there, from the second of a name on a number.
        value: plain, as json has it; of a class its short name.
        parameter: that it is the argument of.
        owner: the class or function that has the parameter; `None` for options of the command line itself.
        marks: what the parameter, and those around it, say of themselves.
        class_path: of a class.
        within: it is a field of a dataclass in a list that is a setting of its own.
        path: where it is in the configuration.
    """

    key: str
    value: Any
    parameter: Parameter = NO_PARAMETER
    owner: Any = None
    marks: frozenset[Mark] = frozenset()
    class_path: str = ""
    within: bool = False
    path: tuple[str | int, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether leaving it out is the same."""
        default = self.parameter.default
        if self.class_path:
            return inspect.isclass(default) and default is imported(self.class_path)
        return bool(self.plain == canonical(default, self.parameter.hint))

    @property
    def plain(self) -> Any:
        """The value, the same for everything that means the same: 1 and 1.0 where a number is meant."""
        return canonical(self.value, self.parameter.hint)


def walk(config: Mapping[str, Any], sections: Sections) -> Iterator[Setting]:
    """All settings of a resolved configuration, a class before its arguments, without those that are linked.

    Args:
        config: plain values, classes as `{class_path: ..., init_args: {...}}`.
        sections: what its parts are the arguments of.
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and not _is_class(value):
            yield from _arguments(key, (key,), value, sections.get(key), _marks_of(sections.get(key)))
        else:
            yield from _settings(Setting(key, value, path=(key,)))


def _settings(setting: Setting) -> Iterator[Setting]:
    """A setting and what is within it."""
    value = setting.value
    if _is_class(value):
        path = value["class_path"]
        marked = setting.marks | _marks_of(imported(path))
        yield dataclasses.replace(setting, value=path.rpartition(".")[2], class_path=path, marks=marked)
        place = (*setting.path, "init_args")
        yield from _arguments(setting.key, place, value.get("init_args") or {}, imported(path), marked & INHERITED)
    elif isinstance(value, list) and value and all(map(_is_class, value)):
        for i, (name, entry) in enumerate(_numbered(value)):
            place = (*setting.path, i)
            yield from _settings(dataclasses.replace(setting, key=f"{setting.key}.{name}", value=entry, path=place))
    else:
        yield setting
        lines = [line for line in (value if isinstance(value, list) else [value]) if isinstance(line, Mapping)]
        hint = setting.parameter.hint
        for kind in filter(_is_dataclass, (*members(hint), *elements(hint)) if lines else ()):
            for i, line in enumerate(lines):
                place = (*setting.path, i) if isinstance(value, list) else setting.path
                for part in _arguments(setting.key, place, line, kind, setting.marks & INHERITED):
                    yield dataclasses.replace(part, within=True)


def _arguments(
    key: str, place: tuple[str | int, ...], arguments: Mapping[str, Any], owner: Any, inherited: frozenset[Mark]
) -> Iterator[Setting]:
    for name, value in arguments.items():
        if name not in LINKED.get(key, ()):
            parameter = parameters(owner).get(name, NO_PARAMETER)
            marked = inherited | marks(parameter.hint)
            yield from _settings(Setting(f"{key}.{name}", value, parameter, owner, marked, path=(*place, name)))


def _marks_of(owner: Any) -> frozenset[Mark]:
    """What a class says of itself: a callback may be one that only observes."""
    return frozenset() if getattr(owner, "changes_results", True) else frozenset({Mark.IRRELEVANT})


def _numbered(classes: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """With names that tell them apart: `Name`, `Name_2`."""
    seen: dict[str, int] = {}
    for part in classes:
        name = part["class_path"].rpartition(".")[2]
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}_{seen[name]}", part


def _is_dataclass(kind: Any) -> bool:
    return inspect.isclass(kind) and dataclasses.is_dataclass(kind)


def _is_class(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_path" in value


# ---- classes and their parameters --------------------------------------------------------------------------------


@cache
def imported(path: str) -> Any:
    """The class of a `class_path`; `None` if there is none, as for one of an older run that is gone."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return None


@cache
def parameters(owner: Hashable) -> dict[str, Parameter]:
    """Those of a class, with what it hands on to its bases, or of a function; nothing of what cannot be read."""
    functions = [vars(part).get("__init__") for part in reversed(owner.__mro__)] if inspect.isclass(owner) else [owner]
    found: dict[str, Parameter] = {}
    for function in filter(inspect.isfunction, functions):
        try:
            hints = get_type_hints(function, include_extras=True)
        except (NameError, TypeError):  # of somebody else's, who imports names for type checkers only
            hints = {}
        for name, parameter in inspect.signature(function).parameters.items():
            found[name] = Parameter(hints.get(name, Any), parameter.default)
    return found


def members(hint: Any) -> tuple[Any, ...]:
    """The types that a value may have."""
    if get_origin(hint) is Annotated:
        return members(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for part in get_args(hint) for member in members(part))
    return (hint,)


def marks(hint: Any) -> frozenset[Mark]:
    """What an annotation says beside the type."""
    own = {mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Mark)}
    return frozenset(own).union(*(marks(part) for part in get_args(hint)))


def elements(hint: Any) -> tuple[Any, ...]:
    """The types that an entry may have of what is a list."""
    lists = [member for member in members(hint) if get_origin(member) in (list, tuple)]
    return tuple(part for member in lists for arg in get_args(member) for part in members(arg) if part is not ...)


def canonical(value: Any, hint: Any) -> Any:
    """`value` the same for everything that means the same where `hint` is expected."""
    kinds = members(hint)
    if isinstance(value, Mapping):
        fields = next((parameters(kind) for kind in kinds if _is_dataclass(kind)), None)
        if fields is not None:
            given = {name: value.get(name, field.default) for name, field in fields.items() if name != "self"}
            return {name: canonical(one, fields[name].hint) for name, one in given.items()}
        kind = next((get_args(kind)[1] for kind in kinds if get_origin(kind) is dict), Any)
        return {str(name): canonical(one, kind) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(one, kind) for one, kind in zip(value, _kinds_of(len(value), kinds), strict=True)]
    return float(value) if float in kinds and type(value) is int else value


def _kinds_of(length: int, kinds: Iterable[Any]) -> list[Any]:
    """What is expected of every entry of a list."""
    for kind in kinds:
        args = get_args(kind)
        if get_origin(kind) is tuple and len(args) == length and ... not in args:
            return list(args)
        if get_origin(kind) in (list, tuple) and args:
            return [args[0]] * length
    return [Any] * length


def put(config: Any, path: tuple[str | int, ...], value: Any) -> None:
    """Sets the value at the path of a setting."""
    *within, last = path
    for part in within:
        config = config[part]
    config[last] = value


# ---- filters -----------------------------------------------------------------------------------------------------


def flattened(settings: Iterable[Setting]) -> dict[str, Any]:
    """`model.advantage.gamma: 0.8` and so on, as checkpoints hold it."""
    return {setting.key: setting.value for setting in settings if not setting.within}


def differences(settings: Iterable[Setting], options: Mapping[str, Any]) -> dict[str, Any]:
    """The classes, and what differs from the defaults; `options` are the defaults of the command line's own options."""
    own = [setting for setting in settings if not setting.within and setting.key not in ("config", "run_name")]
    return {
        setting.key: setting.value
        for setting in own
        if setting.class_path
        or (not setting.is_default if setting.owner else setting.value != options.get(setting.key))
    }
