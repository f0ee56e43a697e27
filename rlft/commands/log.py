"""`rlft log`: makes the page of all runs anew."""

from collections.abc import Sequence

from rlft.commands.arguments import parse
from rlft.files.folders import typed_path
from rlft.runs.log import write_page


def log(log_dir: str) -> None:
    """Makes `log.md` of a log directory anew, from its `index.jsonl` and the records of its runs.

    Args:
        log_dir: such as `lightning_logs`, or `lightning_logs/<study>` for the runs of a study.
    """
    print(write_page(typed_path(log_dir)))


def run(args: Sequence[str]) -> None:
    """Runs `rlft log` with command-line arguments."""
    log(**parse(log, "rlft log", "Makes log.md of a log directory anew; runs and notes do so by themselves.", args))
