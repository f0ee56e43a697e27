"""jsonargparse's errors, which list everything it tried, as one sentence: where, what, and what would be right."""

from __future__ import annotations

import inspect
import re

from rlft.errors import UserError

NOISE = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value", "Problem with")


def one_sentence(message: str) -> str:
    """The place and the reason out of a message of nested attempts."""
    keys = [key for key in re.findall(r'Parser key "([^"]+)"', message) if key != "config"]
    classes = re.findall(r"class_path '([^']+)'", message)
    place = ".".join(keys) + (f" ({classes[-1].rsplit('.', 1)[-1]})" if classes else "")
    if unknown := re.search(r"Expected a dot import path string: (\S+)", message):
        kind = keys[-1].rsplit(".", 1)[-1] if keys else ""
        return f"{place}: there is no {unknown[1]!r} to use here; choose one of {', '.join(_names(kind))}."
    lines = (re.sub(r'^[ -]*Parser key "[^"]+":', "", line).strip(" -") for line in message.splitlines())
    reasons = list(dict.fromkeys(line for line in lines if line and not line.startswith(NOISE)))
    reason = "; ".join(reasons).replace("a typing.Literal", "one of ") or message
    return f"{place}: {reason}" if place else reason


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The error of ours that jsonargparse has wrapped, if there is one."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _names(kind: str) -> list[str]:
    """The usable classes of rlft for a key such as `update`."""
    # Only commands that have imported all of this already come here: those that do without Lightning take no classes.
    from lightning import LightningDataModule, LightningModule

    from rlft.advantage import AdvantageEstimator
    from rlft.types import EnvFactory
    from rlft.update import PolicyUpdate

    kinds: dict[str, type] = {
        "model": LightningModule,
        "data": LightningDataModule,
        "advantage": AdvantageEstimator,
        "update": PolicyUpdate,
        "env": EnvFactory,
    }
    found: list[str] = []
    todo = [kinds[kind]] if kind in kinds else []
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if cls.__module__.startswith("rlft.") and not inspect.isabstract(cls):
            found.append(cls.__name__)
    return sorted(found)
