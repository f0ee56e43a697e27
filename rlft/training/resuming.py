"""Going on from a checkpoint: which one, what it holds, and how this configuration differs from its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.files.tensors import read_torch
from rlft.runs.directory import LAST_CHECKPOINT, versions
from rlft.runs.identity import Identity
from rlft.training.config_tree import Sections, Setting, flattened
from rlft.training.run_identity import differing, identity_of
from rlft.types import Mark


def last_of_name(folder: Path) -> Path:
    """The last checkpoint of the newest run in the folder of a name.

    Raises:
        UserError: if there is none.
    """
    found = _with_checkpoint(folder)
    if not found:
        raise UserError(f"No run {folder.name} under {folder.parent} has a checkpoint to continue from.")
    return found[-1] / LAST_CHECKPOINT


def last_of_identity(log_dir: Path, own: Identity, settings: Sequence[Setting], sections: Sections) -> Path:
    """The last checkpoint of the newest run in a log directory that has these settings and this seed.

    Raises:
        UserError: if there is none, with the run that comes nearest to it.
    """
    with_checkpoint = [version for folder in log_dir.glob("*/") for version in _with_checkpoint(folder)]
    runs = [(version, found) for version in with_checkpoint if (found := identity_of(version, sections)) is not None]
    different = {version: _different(own, settings, found) for version, found in runs}
    same = [version for version, keys in different.items() if not keys]
    if not same:
        raise UserError(_nearest(log_dir, own, settings, dict(runs), different))
    newest = max(same, key=_written)
    beside = [version for version in versions(newest.parent) if version in same]
    return beside[-1] / LAST_CHECKPOINT  # in a folder the numbers say which one is the newest


def _written(version: Path) -> float:
    return (version / LAST_CHECKPOINT).stat().st_mtime


def _with_checkpoint(folder: Path) -> list[Path]:
    return [version for version in versions(folder) if (version / LAST_CHECKPOINT).is_file()]


def _different(own: Identity, settings: Sequence[Setting], found: Identity) -> list[str]:
    return differing(settings, found.settings) + (["seed_everything"] if own.seed != found.seed else [])


def _nearest(
    log_dir: Path,
    own: Identity,
    settings: Sequence[Setting],
    runs: Mapping[Path, Identity],
    different: Mapping[Path, Sequence[str]],
) -> str:
    """The sentence that refuses, with a way to go on that works."""
    nothing = f"No run under {log_dir} has a checkpoint and the settings of this one"
    if not runs:
        return f"{nothing}; to go on from another one give its file as --ckpt_path."
    version = min(different, key=lambda version: (len(different[version]), -_written(version)))
    keys, there = different[version], {**runs[version].settings, "seed_everything": runs[version].seed}
    here = {**flattened(settings), "seed_everything": own.seed}
    told = [f"{key} {_content_said(there.get(key))} (here {_content_said(here.get(key))})" for key in keys]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return (
        f"{nothing}; the nearest, {version}, has {', '.join(told[:3])}{more}. {_way_on(version, settings, keys, there)}"
    )


def _way_on(version: Path, settings: Sequence[Setting], keys: Sequence[str], there: Mapping[str, Any]) -> str:
    """How to go on from a run with other settings, if its networks and data allow it, or else with its own ones."""
    checkpoint = version / LAST_CHECKPOINT
    saved = read_checkpoint(checkpoint)
    done, own = iterations_done(saved), flattened(settings)
    may_change = {setting.key for setting in settings if _may_change(setting)} & there.keys()
    if {*keys} <= may_change:
        longer = f" and {_longer(own, done)}" if done >= own["trainer.max_epochs"] else ""
        return f"To go on from it with the settings of this one give --ckpt_path {checkpoint}{longer}."
    given = f"--config {version / 'config.yaml'} --ckpt_path {checkpoint}"
    return f"To go on with it as it was give {given} and {_longer(saved.get('configuration', {}), done)}."


def _longer(configuration: Mapping[str, Any], done: int) -> str:
    """What lets a run of this configuration have more iterations than are done."""
    in_steps = configuration.get("data.total_timesteps") is not None
    return "a larger --data.total_timesteps" if in_steps else f"--trainer.max_epochs above {done}"


def _may_change(setting: Setting) -> bool:
    """Whether a run can go on with another value: with other numbers of a method, not with other networks or data."""
    in_method = setting.key.startswith("model.") and Mark.START not in setting.marks
    number = isinstance(setting.value, int | float) and not isinstance(setting.value, bool)
    return setting.key == "seed_everything" or (in_method and number)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a run's checkpoint.

    Raises:
        UserError: if the file is something else, or damaged.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path} is no file.")
    content = read_torch(path, "--ckpt_path")
    if not isinstance(content, dict) or "env_steps" not in content:
        raise UserError(f"--ckpt_path {path} is no checkpoint of an rlft run; policies go to --model.policy.")
    return content


def check_continues(path: Path, saved: Mapping[str, Any], settings: Sequence[Setting]) -> None:
    """Refuses what cannot go on with this configuration, as far as is known before anything is built.

    Raises:
        UserError: if nothing is left to do, if the checkpoint has no optimiser, or if a setting of what a run starts
            with is not that of the checkpoint, whose weights would silently replace it.
    """
    own, done = flattened(settings), iterations_done(saved)
    if done >= own["trainer.max_epochs"]:
        raise UserError(f"{path} has done its {done} iterations; give {_longer(own, done)} to go on.")
    if not saved.get("optimizer_states"):
        raise UserError(f"{path} holds weights without an optimiser; start a new run with --model.policy {path}.")
    before = _before(saved, settings)
    if before is None:
        return
    for setting in settings:
        key, value = setting.key, setting.value
        if Mark.START in setting.marks and value not in (None, "none") and value != before.get(key):
            raise UserError(
                f"{key} is {_description(value)}, but {path} was made with {_description(before.get(key))}; a "
                "continued run keeps the networks of its checkpoint: leave it as it was, or start a new run with "
                f"--model.policy {path}."
            )


def summary(path: Path, saved: Mapping[str, Any], settings: Sequence[Setting], *, resets_optimizer: bool) -> str:
    """What the report says of a continued run: from where to where, and what is different from now on."""
    before, after = _before(saved, settings), flattened(settings)
    planned = "" if before is None else f" of {before['trainer.max_epochs']}"
    if before is None:
        changed = "It is unknown what changed: the checkpoint has no record of its configuration."
    else:
        found = changes(before, settings)
        changed = f"Changed: {'; '.join(found)}." if found else "Nothing else changed."
    tensors = len(saved["optimizer_states"][0]["state"])
    adam = "Adam starts anew" if resets_optimizer else f"Adam keeps its moments of {tensors} tensors"
    until = after["trainer.max_epochs"]
    if "current_model_state" in saved and "trainer.callbacks.WeightEMA" not in after:
        changed += " Without WeightEMA it is the averaged weights that go on."
    return f"Continues {path} after iteration {iterations_done(saved)}{planned}, to {until}; {adam}. {changed}"


def changes(before: Mapping[str, Any], settings: Iterable[Setting]) -> list[str]:
    """`model.learning_rate 0.0003 -> 5e-05` and the like; of a class that is another one only that it is.

    Nothing of where a run is kept and how long it is to be.
    """
    settings = list(settings)
    after, length = flattened(settings), {setting.key for setting in settings if Mark.LENGTH in setting.marks}
    found: dict[str, str] = {}
    for key in sorted({*before, *after} - length):  # a class comes before its settings
        old, new = before.get(key), after.get(key)
        where = "." not in key and key not in ("model", "data", "seed_everything")
        if old == new or where or any(key.startswith(f"{changed}.") for changed in found):
            continue
        if key in before and key in after:
            found[key] = f"{key} {_description(old)} -> {_description(new)}"
        else:
            value = _description(new if key in after else old)
            what = key if key.endswith(f".{value}") else f"{key} {value}"  # a callback is known by its class
            found[key] = f"{what} {'added' if key in after else 'removed'}"
    return list(found.values())


def _before(saved: Mapping[str, Any], settings: Iterable[Setting]) -> dict[str, Any] | None:
    """The configuration of a checkpoint, if it says; settings that its code did not have were as by default."""
    defaults = [setting for setting in settings if setting.is_default and not setting.class_path]
    return None if (before := saved.get("configuration")) is None else {**flattened(defaults), **before}


def iterations_done(saved: Mapping[str, Any]) -> int:
    """How many iterations were complete when a checkpoint was written."""
    return int(saved["epoch"]) + 1


def _content_said(value: Any) -> str:
    return "another file" if str(value).startswith("sha256:") else _description(value)


def _description(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
