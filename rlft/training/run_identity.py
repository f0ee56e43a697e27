"""What a run is, from its configuration: everything that its results depend on, whatever it is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rlft.envs.maniskill.imports import source_digest
from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.networks.policy_files import decided_beside, policy_path
from rlft.runs.identity import Identity
from rlft.runs.old_settings import LOADER
from rlft.runs.status import places_before, read_status
from rlft.training.config_tree import Sections, Setting, elements, imported, walk
from rlft.types import Mark, OnRewardChange

OURS = ("rlft", "lightning")  # packages whose classes are known by their short names
EVALUATION = "eval"  # section of the evaluation, and how the names of its metrics begin
ITERATIONS, FORGETS = "checkpoint_iterations", "reset_optimizer"  # settings of runs that go on from another one
REWARDS = "on_reward_change"  # likewise


def relevant(settings: Iterable[Setting]) -> list[Setting]:
    """The settings that results depend on, without the seed."""
    own = [setting for setting in settings if not setting.within and ("." in setting.key or setting.class_path)]
    found = [setting for setting in own if Mark.IRRELEVANT not in setting.marks and not _names_nobody(setting)]
    if any(_watches_evaluation(setting) for setting in found):
        found += [setting for setting in own if setting.key.startswith(f"{EVALUATION}.")]
    if not any(Mark.NEEDS_LENGTH in setting.marks and setting.value for setting in found):
        found = [setting for setting in found if Mark.LENGTH not in setting.marks]
    return found


def content(settings: Iterable[Setting]) -> dict[str, Any]:
    """The settings that results depend on, by key; a file counts by what is in it."""
    return {setting.key: _content(setting) for setting in relevant(settings)}


def differing(settings: Sequence[Setting], other: Mapping[str, Any]) -> list[str]:
    """Keys of what is not the same in the settings of another run.

    One that the other does not have, as code was older, is the same if it is at its default.
    """
    own, defaults = content(settings), {setting.key for setting in settings if setting.is_default}
    keys = sorted({*own, *other} - {ITERATIONS, FORGETS, REWARDS})
    return [key for key in keys if (own.get(key) != other[key] if key in other else key not in defaults)]


def going_on(
    own: Identity,
    settings: Sequence[Setting],
    before: Identity,
    iterations: int | None,
    *,
    resets: bool,
    rewards: OnRewardChange = "refuse",
) -> Identity:
    """The identity of a run that goes on from another after so many iterations, maybe without its optimiser or rewards.

    With the same settings it is the run that it goes on from, as if that had never stopped.
    """
    if own.seed == before.seed and not resets and not differing(settings, before.settings):
        inherited = {key: before.settings[key] for key in (ITERATIONS, FORGETS, REWARDS) if key in before.settings}
        return replace(own, settings={**own.settings, **inherited}, continues=before.continues)
    origin: dict[str, Any] = {} if iterations is None else {ITERATIONS: iterations}
    origin |= {FORGETS: True} if resets else {}
    origin |= {} if rewards == "refuse" else {REWARDS: rewards}
    return replace(own, settings={**own.settings, **origin}, continues=before.digest)


def identity_of(version: Path, sections: Sections) -> Identity | None:
    """What the run in a `version_<k>` is; one of older code has no status, and is what its configuration says.

    `None` if nothing that can be read says it.
    """
    if status := read_status(version):
        return Identity(status.settings, status.seed, status.continues)
    try:
        config = yaml.load((version / "config.yaml").read_bytes(), LOADER)
        settings, seed = list(walk(config, sections)), int(config["seed_everything"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
        return None
    own = Identity(content(settings), seed)
    if not (checkpoint := config.get("ckpt_path")):
        return own
    before = next((p for p in places_before(version, checkpoint) if p.is_dir() and p != version.resolve()), None)
    found = None if before is None else identity_of(before, sections)
    if found is None:  # of a run that is gone
        return replace(own, continues=_sha256(checkpoint.encode()))
    rewards = config.get(REWARDS, "refuse")
    return going_on(own, settings, found, None, resets=bool(config.get("reset_optimizer")), rewards=rewards)


def identity_of_checkpoint(path: Path, saved: Mapping[str, Any], sections: Sections) -> Identity:
    """What the run is that wrote a checkpoint; an unknown one is known by the file's content."""
    if "identity" in saved:
        return Identity(**saved["identity"])
    version = path.absolute().parent.parent
    return identity_of(version, sections) or Identity({"checkpoint": _of_file(path)}, seed=-1)


def _watches_evaluation(setting: Setting) -> bool:
    in_callback = setting.key.startswith("trainer.callbacks.") and not setting.class_path
    return in_callback and isinstance(setting.value, str) and setting.value.startswith(EVALUATION)


def _names_nobody(setting: Setting) -> bool:
    """No callbacks are no callbacks, whether there is a list or not, as with a list of those that only observe.

    Nor does a list of no modules say anything, which older runs do not have.
    """
    kinds = elements(setting.parameter.hint)
    of_code = Mark.MODULE in setting.marks or any(isinstance(k, type) and k.__module__ != "builtins" for k in kinds)
    return not setting.value and of_code


def _content(setting: Setting) -> Any:
    if path := setting.class_path:
        cls = imported(path)
        whole = path if cls is None else f"{cls.__module__}.{cls.__qualname__}"  # however it was imported
        return setting.value if whole.partition(".")[0] in OURS else whole
    if Mark.POLICY in setting.marks or Mark.DATA_FILE in setting.marks:
        return _of_names(setting.value, is_policy=Mark.POLICY in setting.marks)
    if Mark.MODULE in setting.marks and isinstance(setting.value, list):
        return [source_digest(name) for name in setting.value]
    return setting.plain


def _of_names(names: Any, *, is_policy: bool) -> Any:
    if isinstance(names, list):
        return [_of_names(name, is_policy=is_policy) for name in names]
    if names is None:
        return None
    try:
        path = policy_path(names) if is_policy else typed_path(names)
    except UserError:  # it is missed where policies are looked up
        return names
    if not path.is_file():
        return names
    decided = decided_beside(path) if is_policy else {}
    return " ".join([_of_file(path), *([json.dumps(decided, sort_keys=True)] if decided else [])])


def _of_file(path: Path) -> str:
    status = path.stat()
    return _of_unchanged_file(path, status.st_mtime_ns, status.st_size)


@cache  # many runs start from one policy, and a set of demonstrations may be large
def _of_unchanged_file(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
