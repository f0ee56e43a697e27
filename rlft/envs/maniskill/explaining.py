"""One sentence for what goes wrong in a task's own code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rlft.envs.maniskill.assets import missing_file
from rlft.errors import UserError, one_line

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill

NOT_THE_TASKS = (UserError, MemoryError, torch.OutOfMemoryError)  # a worker that runs out of memory is replaced


@contextmanager
def explained(config: ManiSkill, doing: str, *, headless: bool = True) -> Iterator[None]:
    """Turns an error of the task's code into a `UserError`.

    Args:
        config: the task and its settings.
        doing: what cannot be done, after "cannot": `be built`.
        headless: there is nothing to draw with, so an error about a renderer is one about that.
    """
    try:
        yield
    except NOT_THE_TASKS:
        raise
    except FileNotFoundError as error:
        raise UserError(missing_file(config.task, error)) from error
    except SystemExit as error:  # how some of ManiSkill's own code says that something is missing
        raise UserError(f"{_who(config)} cannot {doing} here: its own code ends the process.") from error
    except Exception as error:
        raise UserError(_explain(config, doing, error, headless=headless)) from error


def _who(config: ManiSkill) -> str:
    settings = {"control": config.control_mode, "reward": config.reward_mode, "robot": config.robot}
    named = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
    options = f", options {config.task_options}" if config.task_options else ""
    return f"Task {config.task} ({named}{options})"


def _explain(config: ManiSkill, doing: str, error: Exception, *, headless: bool) -> str:
    reason = one_line(error)
    if isinstance(error, KeyError) and config.control_mode and config.control_mode in reason:
        return f"Task {config.task} has no control mode {config.control_mode!r}: {reason}."
    if headless and "render" in reason:
        return f"Task {config.task} cannot run here: its own code needs a renderer ({reason}), and rlft has none."
    return f"{_who(config)} cannot {doing} here: {reason[:300].rstrip('.')} ({_place(error)})."


def _place(error: Exception) -> str:
    """Kind of the error and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
