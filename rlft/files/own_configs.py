"""Configs by name: rlft's own are found wherever it is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from rlft.errors import UserError, did_you_mean
from rlft.files.folders import typed_path
from rlft.system import CONFIGS

STUDIES = "studies"
LISTED = "`rlft configs` lists rlft's own"  # for sentences about a config that is not there


def config_path(name: str, folder: str = "") -> Path:
    """The file that is meant: one of that path, or else one of rlft's own.

    Args:
        name: a path, or the name of an own one: `gae_ppo`, `studies/ladder` as in the list of all, or
            `configs/gae_ppo.yaml` as in a checkout.
        folder: of rlft's own configs, where names are looked for: `studies`.

    Returns:
        The path as given if there is neither.
    """
    given = typed_path(name)
    if given.is_relative_to("configs"):
        own = CONFIGS / given.relative_to("configs")
    else:
        own = CONFIGS / (given if given.is_relative_to(folder) else folder / given)
    for path in (given, own, own.with_name(f"{own.name}.yaml")):
        if is_file(path):
            return path
    return given


def is_file(path: Path) -> bool:
    """Whether there is one of that path."""
    try:
        return path.is_file()
    except OSError:  # a text that is too long for the name of a file
        return False


def no_config(name: str, kind: Literal["config", "study"] = "config") -> UserError:
    """One sentence: there is no such file, and which of its kind it may have been meant for."""
    meant = did_you_mean(Path(name).stem, own_studies() if kind == "study" else own_fits())
    return UserError(f"There is no {kind} {name}{meant or ';'} {LISTED}.")


def own_names() -> list[str]:
    """Of rlft's own configs: `gae_ppo`, `studies/ladder`."""
    paths = (path.relative_to(CONFIGS).with_suffix("") for path in CONFIGS.rglob("*.yaml"))
    return sorted((str(path) for path in paths), key=lambda name: ("/" in name, name))


def own_fits() -> list[str]:
    """Those of single runs."""
    return [name for name in own_names() if not name.startswith(f"{STUDIES}/")]


def own_studies() -> list[str]:
    """Those of studies, by the names that `rlft study` takes: `ladder`."""
    return [name.removeprefix(f"{STUDIES}/") for name in own_names() if name.startswith(f"{STUDIES}/")]


def summary(text: str) -> str:
    """The first sentence of the comment at the beginning of a config."""
    comment = [line.lstrip("# ") for line in text.split("\n# rlft ")[0].splitlines() if line.startswith("#")]
    return re.split(r"(?<!al\.)(?<=[.])\s", " ".join(comment), maxsplit=1)[0].rstrip(".:")


def own_config(name: str) -> str:
    """The text of one of rlft's own.

    Raises:
        UserError: if there is none of that name.
    """
    if name not in (names := own_names()):
        raise UserError(f"There is no config {name}{did_you_mean(name, names) or ';'} {LISTED}.")
    return (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
