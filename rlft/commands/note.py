"""`rlft note`: a remark on a run, for the log of all runs."""

from collections.abc import Sequence

from rlft.commands.arguments import parse
from rlft.files.folders import typed_path
from rlft.runs.log import add_note


def note(run: str, text: str) -> None:
    """Adds a note to a run and to `log.md` in the log directory.

    Args:
        run: directory of the run, e.g. `lightning_logs/<run>`; the newest version is meant, or give `version_<k>`.
        text: what there is to say of it.
    """
    print(add_note(typed_path(run), text))


def run(args: Sequence[str]) -> None:
    """Runs `rlft note` with command-line arguments."""
    note(**parse(note, "rlft note", "Adds a note to a run; it stands in log.md of the log directory.", args))
