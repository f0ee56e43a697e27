"""The machine: how many cores there are to share, and processes that end with the one that started them."""

import ctypes
import os
import signal
import sys

SHARE = "RLFT_CORES"  # environment variable: how many of them are meant for a run of `rlft study`
PR_SET_PDEATHSIG = 1  # prctl(2): a signal to receive when the thread that started this process ends


def available_cores() -> int:
    """Those that this process may use, or its share of them."""
    share = os.environ.get(SHARE, "")
    if share.isdigit() and int(share):
        return int(share)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


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
