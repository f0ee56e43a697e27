"""The machine and the installation: cores to share, processes that end with their parent, UTF-8, rlft's own configs."""

import ctypes
import locale
import os
import signal
import sys
import time
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"  # a link to the folder beside the package; in a wheel a copy
SHARE = "RLFT_CORES"  # environment variable: how many of them are meant for a run of `rlft study`
PR_SET_PDEATHSIG = 1  # prctl(2): a signal to receive when the thread that started this process ends
TURNS = "5000"  # of a thread that waits for the others; tens of microseconds


def available_cores() -> int:
    """Those that this process may use, or its share of them."""
    share = os.environ.get(SHARE, "")
    if share.isdigit() and int(share):
        return int(share)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def wait_briefly() -> None:
    """Has OpenMP's threads sleep soon when they wait for each other, unless the user says how.

    It counts if torch has not been imported yet. By default they spin for milliseconds, and where another process has a
    core, that keeps it from the thread waited for.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = TURNS


def _processor_time() -> tuple[float, float] | None:
    """Seconds of all cores that processes have had, and of this process; `None` where the kernel does not tell."""
    try:
        ticks = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    idle = ticks[3] + ticks[4]  # and waiting for a disk
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), time.process_time()


STARTED = time.monotonic(), _processor_time()


def taken_by_others() -> float:
    """How many of the machine's cores other processes have had, on average since this one began; 0 if not known."""
    (since, before), now = STARTED, _processor_time()
    if before is None or now is None:
        return 0.0
    return max(0.0, (now[0] - before[0]) - (now[1] - before[1])) / max(time.monotonic() - since, 0.1)


def restart_in_utf8() -> None:
    """Begins this process anew where the locale would have files read in another encoding than they are written in."""
    if not sys.flags.utf8_mode and locale.getencoding().lower() not in ("utf-8", "utf8"):
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def end_with_parent(parent: int, by: signal.Signals) -> bool:
    """From now on this process receives a signal when its parent dies, whatever killed that; only Linux can do it.

    Args:
        parent: the process id of the parent, as that one knows it.
        by: the signal.

    Returns:
        Whether the parent is still there: one that died before gives no signal.
    """
    if sys.platform != "linux":
        return True
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    return os.getppid() == parent


def how_ended(status: int) -> str:
    """How a process of this exit status ended, for a sentence that begins with it; below 0 are signals."""
    return f"ended with exit status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
