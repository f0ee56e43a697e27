"""Going on from a checkpoint: what it holds, and how this configuration differs from the one it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.files.tensors import read_torch

STARTS = ("model.policy", "model.actor", "model.critic", "model.critic_policy", "model.inject_from", "model.inject")
UNSAID = {"model.actor.activation": "tanh", "model.critic.activation": "tanh"}  # what older checkpoints do not say
NOT_COMPARED = {  # where and how long, not what
    "ckpt_path",
    "config",
    "log_dir",
    "reset_optimizer",
    "run_name",
    "data.total_timesteps",
    "trainer.logger",
    "trainer.max_epochs",
    "trainer.max_time",
}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a run's checkpoint.

    Raises:
        UserError: if the file is something else, or damaged.
    """
    content = read_torch(path, "--ckpt_path")
    if not isinstance(content, dict) or "env_steps" not in content:
        raise UserError(f"--ckpt_path {path} is no checkpoint of an rlft run; policies go to --model.policy.")
    return content


def check_continues(path: Path, content: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
    """Refuses what cannot go on with this configuration, as far as is known before anything is built.

    Raises:
        UserError: if nothing is left to do, if the checkpoint has no optimiser, or if a setting of what a run starts
            with is not that of the checkpoint, whose weights would silently replace it.
    """
    if (done := iterations_done(content)) >= configuration["trainer.max_epochs"]:
        raise UserError(f"{path} has done its {done} iterations; give a larger --trainer.max_epochs to go on.")
    if not content.get("optimizer_states"):
        raise UserError(f"{path} holds weights without an optimiser; start a new run with --model.policy {path}.")
    before = _before(content, configuration)
    if before is None:
        return
    for key, value in configuration.items():
        concerned = key in STARTS or key.startswith(tuple(f"{start}." for start in STARTS))
        if concerned and value not in (None, "none") and value != before.get(key):
            raise UserError(
                f"{key} is {_said(value)}, but {path} was made with {_said(before.get(key))}; a continued run keeps "
                f"the networks of its checkpoint: leave it as it was, or start a new run with --model.policy {path}."
            )


def summary(path: Path, content: Mapping[str, Any], configuration: Mapping[str, Any], *, resets_optimizer: bool) -> str:
    """What the report says of a continued run: from where to where, and what is different from now on."""
    before = _before(content, configuration)
    planned = "" if before is None else f" of {before['trainer.max_epochs']}"
    if before is None:
        changed = "It is unknown what changed: the checkpoint has no record of its configuration."
    else:
        found = changes(before, configuration)
        changed = f"Changed: {'; '.join(found)}." if found else "Nothing else changed."
    tensors = len(content["optimizer_states"][0]["state"])
    adam = "Adam starts anew" if resets_optimizer else f"Adam keeps its moments of {tensors} tensors"
    until = configuration["trainer.max_epochs"]
    if "current_model_state" in content and "trainer.callbacks.WeightEMA" not in configuration:
        changed += " Without WeightEMA it is the averaged weights that go on."
    return f"Continues {path} after iteration {iterations_done(content)}{planned}, to {until}; {adam}. {changed}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """`model.learning_rate 0.0003 -> 5e-05` and the like; of a class that is another one only that it is."""
    found: dict[str, str] = {}
    for key in sorted({*before, *after} - NOT_COMPARED):  # a class comes before its settings
        old, new = before.get(key), after.get(key)
        if old == new or any(key.startswith(f"{changed}.") for changed in found):
            continue
        if key in before and key in after:
            found[key] = f"{key} {_said(old)} -> {_said(new)}"
        else:
            value = _said(new if key in after else old)
            what = key if key.endswith(f".{value}") else f"{key} {value}"  # a callback is known by its class
            found[key] = f"{what} {'added' if key in after else 'removed'}"
    return list(found.values())


def _before(content: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration that a checkpoint was made with, if it says."""
    before = content.get("configuration")
    unsaid = {key: value for key, value in UNSAID.items() if key in configuration}
    return None if before is None else unsaid | before


def iterations_done(content: Mapping[str, Any]) -> int:
    """How many iterations were complete in a checkpoint."""
    return int(content["epoch"]) + 1


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
