"""The name of a run: the config it was started with, what is different from that, its digest, its seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.runs.directory import is_version
from rlft.runs.identity import SHORT, Identity
from rlft.training.config_tree import Setting
from rlft.training.run_identity import content, relevant
from rlft.types import Mark

LONGEST = 120  # characters before the digest
DERIVED = re.compile(rf"(?P<words>.+)-(?P<digest>[0-9a-f]{{{SHORT}}})-seed(?P<seed>\d+)")


def run_name(identity: Identity, settings: Sequence[Setting], base: Sequence[Setting], begins: Sequence[str]) -> str:
    """Derived from what is run, so that a name cannot contradict it.

    E.g. `gae_ppo-learning_rate0.001-3f9a2c1b-seed1`: the names of the config files, what differs from them, or without
    one from the defaults, the beginning of the identity's digest, and the seed.

    Args:
        identity: of the run.
        settings: of its configuration.
        base: those of the config files alone; nothing without one.
        begins: the names of the config files.
    """
    parts = [_safe("+".join(begins)), *words(settings, base), *(["continued"] if identity.continues else [])]
    return "-".join([*_shortened([word for word in parts if word]), identity.short, f"seed{identity.seed}"])


def check_name(name: str | None) -> None:
    """Refuses a name that is none of a folder in the log directory, whose log would lack the run.

    Raises:
        UserError: if it is one of several folders, of one elsewhere, or of a version.
    """
    if name and (name in (".", "..") or Path(name).name != name or is_version(Path(name))):
        raise UserError(
            f"run_name is {name}; it must be the name of one folder, such as my_run; --log_dir says where that is."
        )


def is_of(name: str, identity: Identity) -> bool:
    """Whether a name may be given to a run: one that was derived for a run belongs to that one."""
    found = DERIVED.fullmatch(name)
    return found is None or (found["digest"], found["seed"]) == (identity.short, str(identity.seed))


def beginning(file: Path) -> str:
    """What names begin with for a config file: its own name, or for the saved config of a run that of the run."""
    config = yaml.safe_load(file.read_bytes())
    found = DERIVED.fullmatch(config.get("run_name") or "")
    return found["words"] if found else file.stem


def words(settings: Sequence[Setting], base: Sequence[Setting]) -> list[str]:
    """What a name says of the settings that results depend on: those that differ from `base`, else from defaults."""
    own, before = relevant(settings), content(base)
    values = content(settings)
    changed = [s for s in own if (values[s.key] != before[s.key] if s.key in before else not s.is_default)]
    gone = [
        s for s in relevant(base) if s.class_path and s.key not in values and s.key.rpartition(".")[0] not in before
    ]
    ends = [s.key.rpartition(".")[2] for s in own]
    return [_word(s, ends) for s in changed] + [_safe(f"no_{s.value}") for s in gone]


def _word(setting: Setting, ends: Sequence[str]) -> str:
    """`MonteCarlo`, `gamma0.99`, `actor.hidden_dim64`, `policy_pickcube_weak`, `no_target_kl`, `anneal_lr`."""
    *parents, end = setting.key.split(".")
    name = f"{parents[-1]}.{end}" if len(parents) > 1 and ends.count(end) > 1 else end
    if setting.class_path:
        return _safe(str(setting.value))
    if setting.value is None or setting.value is False:
        return _safe(f"no_{name}")
    if setting.value is True:
        return _safe(name)
    is_file = bool({Mark.POLICY, Mark.DATA_FILE} & setting.marks) and typed_path(str(setting.value)).is_file()
    value = Path(setting.value).stem if is_file else setting.value
    return _safe(name + _joined(value))


def _joined(value: Any) -> str:
    """`0.99` or `_pickcube_weak`: what follows a word."""
    word = _text(value)
    return word if re.match(r"-?\.?\d", word) else f"_{word}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        given = {key: one for key, one in value.items() if one is not None and not (one == 0 and type(one) is int)}
        return "_".join(f"{key}{_joined(one)}" for key, one in given.items())
    if isinstance(value, list | tuple):
        return "_".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _safe(text: str) -> str:
    """What is good in the name of a folder everywhere."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).lstrip("-.")


def _shortened(parts: Sequence[str]) -> list[str]:
    """As many words as a name has room for; the digest knows the others."""
    kept = list(parts)
    while len("-".join(kept)) > LONGEST and len(kept) > 1:
        kept.pop()
    left = len(parts) - len(kept)
    kept[:1] = [word[:LONGEST] for word in kept[:1]]
    return [*kept, f"{left}_more"] if left else kept
