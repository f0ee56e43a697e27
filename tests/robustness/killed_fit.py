"""`rlft` that kills itself at a given moment: in the middle of a rollout, of a gradient step, of writing a checkpoint.

python -m tests.robustness.killed_fit <what> <arguments of rlft>, where <what> is `record:FILE`, which writes how often
each phase was entered and how long it took, or `PHASE:NUMBER:DELAY:SCOPE`, which kills the process (`main`) or its
whole process group (`all`), or one `worker` or `machine` of the Ray cluster, DELAY seconds after PHASE has begun for
the NUMBERth time.
"""

import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import rlft.callbacks.run_report
import rlft.callbacks.success_checkpoint
from rlft.cli import main
from rlft.data import replay_files
from rlft.modules.iteration import IterationModule
from rlft.rollout.local import LocalRollouts
from rlft.rollout.processes import ProcessRollouts
from rlft.training.run_files import WholeCheckpoints
from tests.robustness.kills import KILLED
from tests.support.descendants import command

PHASES = {
    "rollout": [(LocalRollouts, "collect"), (ProcessRollouts, "collect")],
    "re-rollout": [(LocalRollouts, "play"), (ProcessRollouts, "play")],
    "evaluation": [(LocalRollouts, "evaluate"), (ProcessRollouts, "evaluate")],
    "update": [(IterationModule, "optimizer_step")],
    "checkpoint": [(WholeCheckpoints, "save_checkpoint")],
    "segment": [(replay_files, "write_segment")],
    "policy": [(rlft.callbacks.success_checkpoint, "save_policy")],
    "report": [(rlft.callbacks.run_report.RunReport, "_write"), (rlft.callbacks.run_report.RunReport, "_log")],
}


def kill(delay, scope):
    time.sleep(delay)
    if scope in ON_RAY:
        processes = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        if (pid := next(filter(ON_RAY[scope], processes), None)) is not None:
            os.kill(pid, signal.SIGKILL)
            print(f"A {scope} was {KILLED}.", flush=True)
        return
    if scope == "all":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def is_worker(pid):
    """Whether it is the process of a worker."""
    return command(pid)[0].startswith("ray::_Actor")


def is_machine(pid):
    """Whether it is a process without which Ray takes its machine for lost, but for that of the head."""
    return command(pid)[0].endswith("/raylet") and "--head" not in command(pid)


ON_RAY = {"worker": is_worker, "machine": is_machine}


def watch(entered, left):
    """Calls `entered(phase)` and `left(phase, seconds)` around everything in `PHASES`."""
    for phase, places in PHASES.items():
        for owner, name in places:
            setattr(owner, name, watched(getattr(owner, name), phase, entered, left))


def watched(function, phase, entered, left):
    @functools.wraps(function)
    def around(*args, **options):
        entered(phase)
        started = time.monotonic()
        try:
            return function(*args, **options)
        finally:
            left(phase, time.monotonic() - started)

    return around


def record(path, args):
    """Runs undisturbed and writes `{phase: [times entered, seconds each]}`."""
    times = {phase: [] for phase in PHASES}
    watch(lambda phase: None, lambda phase, seconds: times[phase].append(seconds))
    status = main(args)
    mean = {phase: [len(took), sum(took) / max(len(took), 1)] for phase, took in times.items()}
    Path(path).write_text(json.dumps(mean))
    return status


def killed(phase, number, delay, scope, args):
    """Runs until the given moment."""
    seen = []

    def entered(current):
        seen.append(current)
        if current == phase and seen.count(phase) == int(number):
            threading.Thread(target=kill, args=(float(delay), scope), daemon=True).start()

    watch(entered, lambda phase, seconds: None)
    return main(args)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    kind, *details = what.split(":")
    sys.exit(record(details[0], arguments) if kind == "record" else killed(kind, *details, arguments))
