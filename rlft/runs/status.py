"""What is known of one version of a run, as data: `status.json`, written anew whenever something has happened.

Numbers of iterations are in `iterations.jsonl` beside it, which grows by a line per iteration. Reports are made from
both, and nothing reads a report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rlft.files.atomic import replacing

FILE = "status.json"
FORMAT = "rlft-status-1"
State = Literal["running", "completed", "ended early"]


@dataclass(frozen=True)
class Status:
    """One version of a run: one start of `rlft fit`, from the beginning or from a checkpoint.

    Attributes:
        state: how it stands; one that was killed still says `running`.
        arguments: of `rlft`, as typed.
        started: when, as YYYY-MM-DD HH:MM:SS.
        heard: when it last wrote this.
        iterations: how many it is to do in all, with those before a checkpoint.
        done: how many are complete, with those before a checkpoint.
        seed: of training; -1 if nobody has said.
        digest: of its identity, see `rlft.runs.identity`; empty if nobody has said.
        settings: what the digest is of.
        continues: digest of the run of other settings that it goes on from, which is part of the identity.
        checkpoint: the file it goes on from, or nothing.
        checkpoint_iterations: how many iterations were complete in that file.
        reason: why it ended early.
        commit: of the code.
        dirty: whether the code had uncommitted changes.
    """

    state: State
    arguments: list[str]
    started: str
    heard: str
    iterations: int
    done: int
    seed: int
    digest: str
    settings: Mapping[str, Any]
    continues: str = ""
    checkpoint: str = ""
    checkpoint_iterations: int = 0
    reason: str = ""
    commit: str = ""
    dirty: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its end."""
        return self.state == "completed"


def places_before(version: Path, checkpoint: str) -> list[Path]:
    """Where the version may be that a checkpoint is of: as it says, or beside `version`, if both have been moved."""
    if not checkpoint:
        return []
    before = Path(checkpoint).parent.parent
    return [before.resolve(), version.resolve().parent.parent / before.parent.name / before.name]


def write_status(version: Path, status: Status) -> None:
    """Replaces the status of the run in a `version_<k>`."""
    with replacing(version / FILE) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **asdict(status)}, indent=1) + "\n")


def read_status(version: Path) -> Status | None:
    """The status of the run in a `version_<k>`; `None` if it has none that can be read, as runs of older code."""
    try:
        content = json.loads((version / FILE).read_bytes())
        if content.pop("format") != FORMAT:
            return None
        status = Status(**content)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return status if _is_valid(status) else None


EXAMPLE = Status("running", [""], "", "", 0, 0, 0, "", {})


def _is_valid(status: Status) -> bool:
    """Whether everything in it has the type that it should have."""
    kinds = {name: type(value) for name, value in vars(EXAMPLE).items()}
    right = all(type(value) is kinds[name] for name, value in vars(status).items())
    return right and status.state in get_args(State) and all(isinstance(one, str) for one in status.arguments)
