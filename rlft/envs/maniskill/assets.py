"""Files that a task needs and this machine may not have: which asset of ManiSkill's registry holds them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rlft.errors import UserError

DOCUMENTED = "ManiSkill's documentation says where they come from"


def _registry() -> Any:
    return importlib.import_module("mani_skill.utils.assets")


def check_assets(task: str, spec: Any) -> None:
    """Refuses a task some of whose registered assets are not on this machine.

    Raises:
        UserError: that names the command which fetches them.
    """
    for asset in spec.asset_download_ids or []:
        if not all(_registry().is_data_source_downloaded(source) for source in _sources(asset)):
            raise UserError(missing(f"Task {task}", task))


def _sources(asset: str) -> list[str]:
    """The single assets of a group, or the asset itself."""
    if asset not in _registry().DATA_GROUPS:
        return [asset]
    return list(_registry().expand_data_group_into_individual_data_source_ids(asset))


def missing(who: str, asset: str) -> str:
    """One sentence: whose assets are missing, and the command that fetches them, if there is one."""
    message = f"{who} needs assets that are not on this machine"
    if asset not in _registry().DATA_SOURCES and not _registry().DATA_GROUPS.get(asset):
        return f"{message}, and ManiSkill's registry has none to download for it; {DOCUMENTED}."
    return f"{message}; fetch them with `python -m mani_skill.utils.download_asset {asset}`."


def missing_file(task: str, error: FileNotFoundError) -> str:
    """One sentence about a file that a task looked for: which asset holds it, if ManiSkill's registry knows."""
    path = str(error.filename or error)
    for name, source in _registry().DATA_SOURCES.items():
        if source.target_path and str(Path(source.output_dir) / source.target_path) in path:
            return missing(f"Task {task}", name)
    file = " ".join(path.split())[:200]
    return (
        f"Task {task} needs a file that is not on this machine, {file}, and no asset of ManiSkill's registry has that "
        f"place; {DOCUMENTED}."
    )


@contextmanager
def no_questions(task: str) -> Iterator[None]:
    """ManiSkill asks on the terminal whether to download missing assets; a training run must not wait for that."""

    def refuse(question: str) -> bool:
        robot = re.search(r"Robot (\S+) has assets", question)
        who, asset = (f"The robot {robot[1]} of task {task}", robot[1]) if robot else (f"Task {task}", task)
        raise UserError(missing(who, asset))

    download_asset = importlib.import_module("mani_skill.utils.download_asset")
    with patch.object(download_asset, "prompt_yes_no", refuse):
        yield
