"""`rlft study` with everything imported, and so are the processes that it starts: forks of it, which has no threads."""

import inspect
import os
import subprocess
import sys

from tests.support.warm import end_as_python_does, run_module

START = subprocess.Popen._execute_child


class Fork(subprocess.Popen):
    """A process of `python -m module` that is a fork instead of a new interpreter; any other is what it always is."""

    def _execute_child(self, *arguments):
        given = inspect.signature(START).bind(self, *arguments).arguments
        command = given["args"]
        if not isinstance(command, list) or command[:2] != [sys.executable, "-m"]:
            START(self, *arguments)
            return
        self._child_created, self.pid = True, os.fork()
        if self.pid == 0:
            end_as_python_does(_become, given, command[2], list(map(str, command[3:])))
        self._close_pipe_fds(*(given[name] for name in PIPES))


PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")  # -1 where there is none


def _become(given, module, arguments):
    """What `Popen` makes of a child, and then the module."""
    if given["start_new_session"]:
        os.setsid()
    for name, number in (("p2cread", 0), ("c2pwrite", 1), ("errwrite", 2)):
        if given[name] != -1:
            os.dup2(given[name], number)
    for name in ("p2cwrite", "c2pread", "errread"):
        if given[name] != -1:
            os.close(given[name])
    os.environ.update(given["env"] or {})
    sys.stdin = os.fdopen(0)
    run_module(module, arguments)


def study(*arguments):
    """`rlft study` with these arguments."""
    subprocess.Popen = Fork
    run_module("rlft", ["study", *arguments])
