"""What the folder of a study holds, as data: `study.json`, written by `rlft study`, read by `rlft compare`."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.files.atomic import replacing

FILE = "study.json"


@dataclass(frozen=True)
class ManifestEntry:
    """One run of a study.

    Attributes:
        arm: what its seeds, and its tasks, have in common.
        seed: of training; `None` if there is one run for all seeds.
        run: its folder in that of the study.
        preparation: whether other runs need it and it is not compared.
        status: waiting, running, completed, failed, interrupted or not run.
        needs: folders of the runs that have to be complete before.
        reason: of the last three.
        version: `version_<k>` of the complete run; studies of older code do not say.
        task: its name in the study, of one that has tasks.
        expert: the policy whose normalised score in this task is 1, if the study names one.
    """

    arm: str
    seed: int | None
    run: str
    preparation: bool
    status: str
    needs: tuple[str, ...] = ()
    reason: str = ""
    version: str = ""
    task: str = ""
    expert: str = ""


@dataclass(frozen=True)
class StudyManifest:
    """A study by its name and its runs."""

    name: str
    runs: tuple[ManifestEntry, ...]


def is_study(folder: Path) -> bool:
    """Whether a study has written into the folder."""
    return (folder / FILE).is_file()


def write_manifest(folder: Path, manifest: StudyManifest) -> None:
    """Replaces the manifest of the study in a folder."""
    with replacing(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def read_manifest(folder: Path) -> StudyManifest:
    """The manifest of the study in a folder.

    Raises:
        UserError: if it cannot be read.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
        return StudyManifest(str(content.get("name", folder.name)), tuple(map(_entry, content["runs"])))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not the record of a study: {type(error).__name__} {error}.") from error


def _entry(content: dict[str, Any]) -> ManifestEntry:
    entry = ManifestEntry(**{**content, "needs": tuple(content.get("needs", ()))})
    texts = (entry.arm, entry.run, entry.status, entry.reason, entry.version, entry.task, entry.expert, *entry.needs)
    if not all(isinstance(text, str) for text in texts) or type(entry.preparation) is not bool:
        raise TypeError(f"of the entry {json.dumps(content)[:100]}")
    if not re.fullmatch(r"[\w.+-]{1,255}", entry.run) or not re.fullmatch(r"(version_\d{1,9})?", entry.version):
        raise ValueError(f"of the folder {json.dumps(f'{entry.run}/{entry.version}')[:100]}")
    if entry.seed is not None and type(entry.seed) is not int:
        raise TypeError(f"of the seed {json.dumps(entry.seed)[:100]}")
    return entry
