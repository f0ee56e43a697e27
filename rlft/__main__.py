"""`python -m rlft`: the command line as `rlft study` starts it, which ends when the study does.

The process that started it is named by RLFT_PARENT; when that one dies, whatever killed it, this one receives SIGTERM.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from rlft.cli import main

PR_SET_PDEATHSIG = 1  # prctl(2): a signal to receive when the parent dies


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("rlft: the study that started this run has ended.")


if __name__ == "__main__":
    if "RLFT_PARENT" in os.environ:
        _end_with(int(os.environ["RLFT_PARENT"]))
    sys.exit(main())
