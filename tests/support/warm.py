"""Processes that begin with everything imported: forks of a server that has no threads, and has run nothing.

A new interpreter imports torch, Lightning and what they bring for ten seconds before it does what a test is about. The
server does so once per process of pytest. How rlft itself starts processes is the point of a few tests; these do so
without this module.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import SimpleNamespace

from rlft.rollout import worker_process

IMPORTED = ["tests.support.warm_imports"]


def context():
    """Of the server, which the first process starts."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(IMPORTED)
    return forks


@contextmanager
def warm_workers():
    """Within, rollout workers are forks of the server."""
    with _workers_of(SimpleNamespace(get_context=lambda _method: context())):
        yield


@contextmanager
def cold_workers():
    """Within, they are new interpreters, as outside of tests."""
    with _workers_of(multiprocessing):
        yield


@contextmanager
def _workers_of(module):
    before = worker_process.multiprocessing
    worker_process.multiprocessing = module
    yield
    worker_process.multiprocessing = before


class Warm:
    """A process of a server's; what tests need of `subprocess.Popen`.

    Args:
        function: what it does, with these arguments; importable.
        environment: what is added to that of this process.
        merged: its stderr goes to its stdout.
    """

    def __init__(self, function, *arguments, cwd=None, environment=None, merged=False):
        outputs = [context().Pipe(duplex=False) for _ in range(1 if merged else 2)]
        theirs = [writer for _, writer in outputs]
        here = (cwd or os.getcwd(), {**os.environ, **(environment or {})})
        self._process = context().Process(target=_begin, args=(function, arguments, *here, theirs))
        with worker_process.signals_blocked():  # a server that this starts is that of rollout workers, too
            self._process.start()
        for writer in theirs:
            writer.close()
        self.stdout, *others = [os.fdopen(os.dup(reader.fileno())) for reader, _ in outputs]
        self.stderr = others[0] if others else None
        self.pid = self._process.pid

    @property
    def returncode(self):
        """The exit status, or minus the number of a signal; `None` while it runs."""
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self):
        self._process.join()
        return self.returncode

    def terminate(self):
        self._process.terminate()

    def kill(self):
        self._process.kill()

    def communicate(self):
        """What it still says, until it ends: to stdout, and to stderr where that is not the same."""
        said = [file.read() for file in (self.stdout, self.stderr) if file]
        self.wait()
        return (*said, None)[:2]


def rlft(*arguments, module="rlft", **options):
    """`python -m rlft` with these arguments."""
    return Warm(run_module, module, list(map(str, arguments)), **options)


def run_module(module, arguments):
    """As `python -m` does."""
    sys.path.insert(0, os.getcwd())
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_code(code):
    """As `python -c` does."""
    sys.path.insert(0, os.getcwd())
    exec(code, {"__name__": "__main__"})


def end_as_python_does(function, *arguments):
    """Ends this process, which is a fork, with the exit status that an interpreter would have after the function."""
    status = 1
    try:
        function(*arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def _begin(function, arguments, cwd, environment, outputs):
    """Makes a fork what a new process in a session of its own is."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for output, number in zip((outputs[0], outputs[-1]), (1, 2), strict=True):
        os.dup2(output.fileno(), number)
    for output in outputs:
        output.close()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource_tracker._resource_tracker._fd = None  # not that of pytest
    if said := environment.get("PYTHONWARNINGS"):
        warnings.simplefilter(said)
    end_as_python_does(function, *arguments)
