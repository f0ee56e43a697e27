"""How many processor cores there are to share."""

import os

SHARE = "RLFT_CORES"  # environment variable: how many of them are meant for a run of `rlft study`


def available_cores() -> int:
    """Those that this process may use, or its share of them."""
    share = os.environ.get(SHARE, "")
    if share.isdigit() and int(share):
        return int(share)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
