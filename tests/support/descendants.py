"""The processes that another process has started, as Linux shows them."""

import os
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 240  # seconds on a busy machine


def children(pid):
    """Processes that this one has started; none if it ends meanwhile."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += [int(child) for child in path.read_text().split()]
    return found


def descendants(pid):
    """Processes that this one has started, and those they have."""
    ours = children(pid)
    return ours + [pid for child in ours for pid in descendants(child)]


def runs(pid):
    """Whether there is such a process; one that nobody has buried yet does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command(pid):
    """What a process is called by, and its arguments; an empty name if there is no such process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return [""]


def shared_memory(pid):
    """Files in /dev/shm that a process has mapped or open; "(deleted)" if they have no name that could stay behind."""
    mapped = [line.split(maxsplit=5)[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    opened = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            opened.append(os.readlink(path))
    return [name for name in mapped + opened if "/dev/shm" in name]


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
