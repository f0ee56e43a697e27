"""jsonargparse's errors, which list everything it tried, as one sentence: where, what, and what would be right."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args, get_origin

from rlft.errors import UserError, did_you_mean, one_line
from rlft.files.own_configs import LISTED, config_path, is_file, no_config

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list, as in [a, b]",
    "tuple": "a list, as in [a, b]",
    "dict": "names with values",
}
UNNAMED = ("lightning.LightningModule", "lightning.LightningDataModule")  # where nothing has named a class yet
NOISE = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value", "Problem with")


def one_sentence(message: str, options: Iterable[str] = ()) -> str:
    """The place and the reason out of a message of nested attempts.

    Args:
        message: of jsonargparse.
        options: that the command has, without dashes.
    """
    keys = [key for key in re.findall(r'Parser key "([^"]+)"', message) if key != "config"]
    classes = re.findall(r"class_path '([^']+)'", message)
    classes += re.findall(r"is not accepted\. Got value: Namespace\(class_path='([^']+)'", message)  # of a network
    place = ".".join(keys) + (f" ({classes[-1].rsplit('.', 1)[-1]})" if classes else "")
    if unknown := re.search(r"Expected a dot import path string: (\S+)", message):
        return (
            f"{place or 'The command line'}: there is no {unknown[1]!r} to use here{_choices(message, keys, classes)}."
        )
    if classes and classes[-1] in UNNAMED:
        return f"{keys[0]} has options before anything says what it is; begin with a config, such as gae_ppo; {LISTED}."
    if "Expected an instantiatable class" in message:
        return f"{place}: this names no class{_choices(message, keys, classes)}."
    if unknown := re.search(r"Option '([^']+)' is not accepted", message):
        told = _options(classes[-1] if classes else "", keys, unknown[1])
        return f"{place}: there is no option {unknown[1]!r}{told}."
    if unknown := re.search(r"Subcommand '(\w+)' does not accept option '([^']+)'", message):
        meant = _near_option(unknown[2], options)
        return f"There is no option {unknown[2]!r}{meant or ';'} `rlft {unknown[1]} --help` lists what there is."
    if unknown := re.fullmatch(r"[Uu]nrecognized arguments: (--[^\s=]+).*", message.strip(), re.S):
        meant = _near_option(unknown[1].removeprefix("--"), options, "--")
        return f"There is no option {unknown[1]}{meant or ';'} `--help` lists what there is."
    if (late := re.fullmatch(r"[Uu]nrecognized arguments: (\w\S*).*", message.strip(), re.S)) and is_file(
        config_path(late[1])
    ):
        return f"The config {late[1]} stands after options; names of configs come first."
    if shadowed := re.search(r"\bcallbacks\.(\w+) either not accessible", message):
        name = shadowed[1]
        return f"{place}: the package callbacks found here is not rlft's; write {name} or rlft.callbacks.{name}."
    if missing := re.search(r"File does not exist: '([^']+)'", message):
        return str(no_config(missing[1]))
    if missing := re.fullmatch(r".*arguments are required: ((?:(?:fit|validate)\.\w+(?:, )?)+)", message.strip()):
        names = re.sub(r"\w+\.(\w+)", r"\1", missing[1]).replace(", ", " and ")
        return f"There is no {names}; name a config that says what to use, such as gae_ppo; {LISTED}."
    lines = (re.sub(r'^[ -]*Parser key "[^"]+":', "", line).strip(" -") for line in message.splitlines())
    reasons = list(dict.fromkeys(line for line in lines if line and not line.startswith(NOISE)))
    reason = "; ".join(reasons).replace("a typing.Literal", "one of ") or message
    for kind, name in TYPES.items():
        reason = reason.replace(f"a <class '{kind}'>", name)
    return f"{place}: {reason.rstrip('.')}." if place else reason


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The error of ours that jsonargparse has wrapped, if there is one."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def lost_log(error: Exception) -> str:
    """A sentence about a log that cannot be written, which Lightning takes for a wrong number; else nothing."""
    behind = error.__cause__
    if "you tried to log" not in str(error) or not isinstance(behind, OSError):
        return ""
    return f"The log of the run cannot be written: {one_line(behind)}; --ckpt_path last goes on if its folder is there."


def missing_metric(error: Exception) -> str:
    """A sentence about a metric that EarlyStopping watches and no iteration has, if that is it; else nothing."""
    found = re.match(r"Early stopping conditioned on metric `(.+)` which.*following: (.*)", str(error), re.DOTALL)
    return f"EarlyStopping.monitor is {found[1]}; it must be one of {found[2].replace('`', '')}." if found else ""


def missing_package(error: BaseException | None) -> str:
    """A sentence about a package that somebody else's class needs, if that is what an error is about; else nothing."""
    while error is not None and not isinstance(error, ModuleNotFoundError):
        error = error.__cause__ or error.__context__
    if error is None:
        return ""
    return f"Something that the config names needs a package that is not installed: {one_line(error)}."


def _choices(message: str, keys: list[str], classes: list[str]) -> str:
    """The classes that can be used where the message says that one cannot."""
    # Only commands that have imported all of this already come here: those that do without torch take no classes.
    from rlft.training.config_tree import NO_PARAMETER, elements, imported, members, parameters

    name = keys[-1].rsplit(".", 1)[-1] if keys else ""
    around = parameters(imported(classes[-1])) if classes else {}
    if expected := re.search(r"Subtypes: \[(?:list\[)?(?:<class ')?([\w.]+)", message) if not around else None:
        hint = imported(expected[1])
    else:
        hint = around.get(name, NO_PARAMETER).hint
    names = sorted({name for kind in (*members(hint), *elements(hint)) for name in _names(kind)})
    return f"; choose one of {', '.join(names)}" if names else "; name a class by its import path"


def _names(kind: Any) -> list[str]:
    """The usable classes of rlft of a kind, or if it has none those of whoever exports some.

    Of a callable, as for a network, those that a user need not give anything else to, if there are some.
    """
    numbers = 0
    if get_origin(kind) is Callable:
        inputs, kind = get_args(kind)
        numbers = len(inputs)
    exported = _exported(kind)
    found = [cls for cls in exported if not numbers or _required(cls) == numbers] or exported
    ours = [cls.__name__ for cls in found if cls.__module__.startswith("rlft.")]
    return ours or [cls.__name__ for cls in found]


def _exported(kind: Any) -> list[type]:
    """The classes of a kind that can be built and that their package has for others."""
    found: list[type] = []
    todo = [kind] if isinstance(kind, type) else []
    while todo:
        cls = todo.pop()
        todo += type.__subclasses__(cls)
        package = sys.modules.get(cls.__module__.rpartition(".")[0])
        if cls.__name__ in getattr(package, "__all__", ()) and not inspect.isabstract(cls):
            found.append(cls)
    return found


def _required(cls: type) -> int:
    """How many arguments it cannot do without."""
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = inspect.signature(cls).parameters.values()
    return sum(one.kind is positional and one.default is inspect.Parameter.empty for one in found)


def _near_option(given: str, options: Iterable[str], dashes: str = "") -> str:
    """`did_you_mean` among the options of the same section, whose name they share in any case."""
    section, dot, name = given.rpartition(".")
    within = [one.removeprefix(section + dot) for one in options if one.startswith(section + dot)]
    return did_you_mean(name, within, most=1, before=dashes + section + dot)


def _options(class_path: str, keys: Sequence[str], given: str) -> str:
    """What a class can be built with by a user, the nearest to what was given first; the rest follows the data."""
    from rlft.training.config_tree import LINKED, imported  # see `_choices`

    cls = imported(class_path)
    if cls is None:
        return "; `--help` of its class lists what there is"
    linked = {*LINKED.get(".".join(keys), ()), "obs_dim", "action_dim"}
    names = [name for name in inspect.signature(cls).parameters if name not in linked]
    meant = difflib.get_close_matches(given, names, n=1)
    own = ", ".join([*meant, *(name for name in names if name not in meant)])
    return f"; choose one of {own}" if own else "; this class has none"
