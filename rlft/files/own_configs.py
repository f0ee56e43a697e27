"""Configs by name: rlft's own are found wherever it is installed."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from rlft.errors import UserError
from rlft.system import CONFIGS

STUDIES = "studies"
LISTED = "`rlft configs` lists rlft's own"  # for sentences about a config that is not there


def config_path(name: str, folder: str = "") -> Path:
    """The file that is meant: one of that path, or else one of rlft's own.

    Args:
        name: a path, or the name of an own one: `gae_ppo`, or `configs/gae_ppo.yaml` as in a checkout.
        folder: of rlft's own configs, where names are looked for: `studies`.

    Returns:
        The path as given if there is neither.
    """
    given = Path(name)
    own = CONFIGS / (given.relative_to("configs") if given.is_relative_to("configs") else folder / given)
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


def no_config(name: str, kind: str = "config") -> UserError:
    """One sentence: there is no such file, and what it may have been meant for."""
    near = get_close_matches(Path(name).stem, own_names(), n=2)
    meant = f" did you mean {' or '.join(near)}?" if near else ""
    return UserError(f"There is no {kind} {name};{meant} {LISTED}.")


def own_names() -> list[str]:
    """Of rlft's own configs: `gae_ppo`, `studies/ladder`."""
    paths = (path.relative_to(CONFIGS).with_suffix("") for path in CONFIGS.rglob("*.yaml"))
    return sorted((str(path) for path in paths), key=lambda name: ("/" in name, name))


def summary(text: str) -> str:
    """The first sentence of the comment at the beginning of a config."""
    comment = [line.lstrip("# ") for line in text.split("\n# rlft ")[0].splitlines() if line.startswith("#")]
    return re.split(r"(?<!al\.)(?<=[.])\s", " ".join(comment), maxsplit=1)[0].rstrip(".:")


def own_config(name: str) -> str:
    """The text of one of rlft's own.

    Raises:
        UserError: if there is none of that name.
    """
    if name not in own_names():
        raise no_config(name)
    return (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
