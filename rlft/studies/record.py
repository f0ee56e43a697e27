"""What a run was made with, in its folder: removing the folder removes all that is known of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.files.own_configs import config_path
from rlft.studies.plan import PlannedRun

FILE = "run.json"
NO_RECORD = "{path} is no record of a study's run; remove {folder} to make it anew."


@dataclass(frozen=True)
class Record:
    """What a run was made with, and how far it came."""

    args: list[str]  # with placeholders
    configs: dict[str, str]  # digest of what each file says
    needs: dict[str, str]  # digest of the record of each run that it needs
    threads: int = 0  # sums of floats depend on their number, so a run that goes on keeps it
    seconds: float = 0.0  # for which it has run
    directory: str = ""  # where a command writes; runs of `rlft fit` find their own
    succeeded: bool = False  # when it was last started

    def digest(self) -> str:
        """Of everything that decides the results."""
        return _digest(json.dumps([self.args, self.configs, self.needs]).encode())

    def difference(self, other: Record) -> str:
        """What this one was made with and `other` would be; nothing if they are the same."""
        if self.args != other.args:
            ours = [arg for arg in self.args if arg not in other.args]
            theirs = [arg for arg in other.args if arg not in self.args]
            return f"{' '.join(ours) or 'its options'}, not with {' '.join(theirs) or 'their present order or number'}"
        for config, digest in other.configs.items():
            if digest != self.configs.get(config):
                return f"another content of {config}"
        for run, digest in other.needs.items():
            if digest != self.needs.get(run):
                return f"a {run} that was made with something else"
        return ""


KINDS = [type(value) for value in asdict(Record([], {}, {})).values()]


def planned_record(run: PlannedRun, before: Mapping[str, Record]) -> Record:
    """What a run of the study would be made with.

    Args:
        run: the run.
        before: the records of those that it needs.
    """
    configs = {config: _digest(_said(config_path(config).read_bytes())) for config in run.configs}
    return Record(list(run.args), configs, {name: before[name].digest() for name in run.needs})


def read_record(folder: Path) -> Record | None:
    """The record of the run in this folder.

    Raises:
        UserError: if there is something else in the folder.
    """
    path = folder / FILE
    if not path.is_file():
        if folder.exists():
            raise UserError(
                f"{folder} has no {FILE}, so it is not of this study, or somebody has removed that; give the study "
                "another name or --log_dir, or remove the folder."
            )
        return None
    try:
        record = Record(**json.loads(path.read_bytes()))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(NO_RECORD.format(path=path, folder=folder)) from error
    if [type(value) for value in asdict(record).values()] != KINDS:
        raise UserError(NO_RECORD.format(path=path, folder=folder))
    return record


def write_record(folder: Path, record: Record) -> None:
    """Replaces the record."""
    with replacing(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1))


def _said(content: bytes) -> bytes:
    """What is in a config: a run goes on when a comment changes, for headers often hold results of the study itself."""
    try:
        return json.dumps(yaml.safe_load(content), default=str).encode()
    except (yaml.YAMLError, RecursionError, TypeError, ValueError):
        return content  # it is refused where it is parsed


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
