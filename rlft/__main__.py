"""`python -m rlft`: the command line as `rlft study` starts it, which ends when the study does.

The process that started it is named by RLFT_PARENT; when that one dies, whatever killed it, this one receives SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys

from rlft.cli import main
from rlft.system import end_with_parent

if __name__ == "__main__":
    parent = os.environ.get("RLFT_PARENT")
    if parent and not end_with_parent(int(parent), signal.SIGTERM):
        sys.exit("rlft: the study that started this run has ended.")
    sys.exit(main())
