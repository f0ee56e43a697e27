"""jsonargparse's errors, which list everything it tried, as one sentence: where, what, and what would be right."""

from __future__ import annotations

import inspect
import re
import sys

from rlft.errors import UserError

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list, as in [a, b]",
    "tuple": "a list, as in [a, b]",
    "dict": "names with values",
}
LINKED = ("obs_dim", "action_dim", "reward_mode", "data_policy")  # what a module takes from the data
NOISE = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value", "Problem with")


def one_sentence(message: str) -> str:
    """The place and the reason out of a message of nested attempts."""
    keys = [key for key in re.findall(r'Parser key "([^"]+)"', message) if key != "config"]
    classes = re.findall(r"class_path '([^']+)'", message)
    place = ".".join(keys) + (f" ({classes[-1].rsplit('.', 1)[-1]})" if classes else "")
    kind = keys[-1].rsplit(".", 1)[-1] if keys else ""
    if unknown := re.search(r"Expected a dot import path string: (\S+)", message):
        return f"{place}: there is no {unknown[1]!r} to use here; choose one of {', '.join(_names(kind))}."
    if "Expected an instantiatable class" in message and _names(kind):
        return f"{place}: this names no class; choose one of {', '.join(_names(kind))}."
    if unknown := re.search(r"Option '([^']+)' is not accepted", message):
        return f"{place}: there is no option {unknown[1]!r}{_options(classes[-1] if classes else '')}."
    if unknown := re.search(r"Subcommand '(\w+)' does not accept option '([^']+)'", message):
        return f"There is no option {unknown[2]!r}; choose one of those that `rlft {unknown[1]} --help` lists."
    if unknown := re.fullmatch(r"[Uu]nrecognized arguments: (--[^\s=]+).*", message.strip(), re.S):
        return f"There is no option {unknown[1]}; choose one of those that `--help` lists."
    if missing := re.fullmatch(r".*arguments are required: ((?:(?:fit|validate)\.\w+(?:, )?)+)", message.strip()):
        names = re.sub(r"\w+\.(\w+)", r"\1", missing[1]).replace(", ", " and ")
        return f"There is no {names}; give a --config that says what to use, such as configs/gae_ppo.yaml."
    lines = (re.sub(r'^[ -]*Parser key "[^"]+":', "", line).strip(" -") for line in message.splitlines())
    reasons = list(dict.fromkeys(line for line in lines if line and not line.startswith(NOISE)))
    reason = "; ".join(reasons).replace("a typing.Literal", "one of ") or message
    for kind, said in TYPES.items():
        reason = reason.replace(f"a <class '{kind}'>", said)
    return f"{place}: {reason.rstrip('.')}." if place else reason


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The error of ours that jsonargparse has wrapped, if there is one."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _names(kind: str) -> list[str]:
    """The usable classes of rlft for a key such as `update`."""
    # Only commands that have imported all of this already come here: those that do without Lightning take no classes.
    from lightning import Callback, LightningDataModule, LightningModule

    from rlft.advantage import AdvantageEstimator
    from rlft.networks import GaussianActor, ValueCritic
    from rlft.types import EnvFactory
    from rlft.update import PolicyUpdate

    kinds: dict[str, type] = {
        "model": LightningModule,
        "data": LightningDataModule,
        "advantage": AdvantageEstimator,
        "update": PolicyUpdate,
        "env": EnvFactory,
        "actor": GaussianActor,
        "critic": ValueCritic,
        "callbacks": Callback,
    }
    found: list[str] = []
    todo = [kinds[kind]] if kind in kinds else []
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        package, _, _ = cls.__module__.rpartition(".")
        exported = cls.__name__ in getattr(sys.modules.get(package), "__all__", ())
        if exported and package.startswith(("rlft.", "callbacks")) and not inspect.isabstract(cls):
            found.append(cls.__name__)
    return sorted(found)


def _options(class_path: str) -> str:
    """What a class can be built with by a user: the dimensions are the environment's."""
    module, _, name = class_path.rpartition(".")
    cls = getattr(sys.modules.get(module), name, None)
    if cls is None:
        return "; `--help` of its class lists what there is"
    names = list(inspect.signature(cls).parameters)
    own = ", ".join(name for name in names if name not in LINKED)
    return f"; choose one of {own}" if own else "; this class has none"
