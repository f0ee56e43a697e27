"""Several learners of one run on one machine: `rlft fit --trainer.devices 2`.

The process that was started is the first learner. It starts the others, which read the same command line; they hear no
signals and end with the first one, whatever ends that. One that ends before the run ends the others within `PATIENCE`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import lightning
import torch
import torch.distributed as dist
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from rlft.errors import UserError, one_line, require
from rlft.learners import LearnerLost, Place, average, copy_first, place, take_place
from rlft.rollout import close_all
from rlft.rollout.worker_process import signals_blocked, start_context
from rlft.system import available_cores, end_with_parent
from rlft.training.config_tree import imported

HOST = "127.0.0.1"
GRACE = 5.0  # seconds in which a process that has lost its connection is expected to have ended
PATIENCE = 30.0  # seconds until a learner that has not noticed the end of another one is ended
LONGEST = timedelta(days=7)  # that learners wait for each other: one that has ended is noticed otherwise


class _Other:
    """Another learner, as the first one sees it."""

    def __init__(self, run: Callable[[Sequence[str]], None], arguments: Sequence[str], mine: Place, port: int) -> None:
        context = start_context()
        self.number = mine.rank + 1
        self.count = mine.count
        self.heard, theirs = context.Pipe(duplex=False)
        passed = (run, arguments, mine, port, os.getpid(), theirs)
        self.process: BaseProcess = context.Process(target=_learn, args=passed)
        with signals_blocked():
            self.process.start()
        theirs.close()
        self._said, self._lock = "", threading.Lock()

    def ready(self) -> bool:
        """Waits until it has begun to join the others, or has ended."""
        with suppress(EOFError, OSError):
            return bool(self.heard.recv() is None)
        return False

    def lost(self, seconds: float) -> str:
        """What to say of it if it has failed, or does so within as many seconds; else nothing."""
        with self._lock:  # the thread that watches asks, too
            self.process.join(seconds)
            if self._said or not (status := self.process.exitcode):
                return self._said
            told = f"ended with exit status {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
            who = f"Learner {self.number} of {self.count}"
            self._said = f"{who} {told}; --ckpt_path last goes on after the last complete iteration."
            with suppress(EOFError, OSError):
                while self.heard.poll():
                    if said := self.heard.recv():
                        self._said = f"{who}: {said}"
            return self._said


_others: list[_Other] = []  # of the first learner
_invited: tuple[Place, int] | None = None  # what another learner was started with: its place, and a port
_over = threading.Event()  # the first learner is about to end


def count_learners(settings: Namespace) -> int:
    """How many learners a trainer's settings ask for.

    Raises:
        UserError: if `devices` is no number of devices, or there are not as many.
    """
    devices, gpus = str(settings.devices), 0 if settings.accelerator == "cpu" else torch.cuda.device_count()
    if devices in ("-1", "auto"):
        return max(1, gpus)
    right = re.fullmatch(r"[1-9]\d*|(\d+,)+\d*", devices) is not None
    require(right, "trainer.devices", settings.devices, "how many learners, or which devices, as in '0,1'")
    which = {int(number) for number in devices.strip(",").split(",")} if "," in devices else {*range(int(devices))}
    if len(which) > 1 and (gpus or "," in devices or settings.accelerator in ("gpu", "cuda")):
        require(max(which) < gpus, "trainer.devices", settings.devices, f"among the GPUs, of which there are {gpus}")
    return len(which)


def check_can_share(config: Namespace, command: str, count: int) -> None:
    """Refuses several learners for what they cannot share.

    Raises:
        UserError: if there is something.
    """
    if count == 1:
        return
    if command != "fit":
        raise UserError(f"trainer.devices is {config.trainer.devices}; rlft {command} works on 1 device.")
    for key, usable in (("model", "FinetuneModule"), ("data", "RolloutDataModule")):
        path = config[key].class_path
        if not getattr(imported(path), "shareable", False):
            name = path.rpartition(".")[2]
            raise UserError(
                f"trainer.devices asks for {count} learners, but {key} {name} has only one; several can share "
                f"FinetuneModule with RolloutDataModule. Set trainer.devices to 1, or {key} to {usable}."
            )


def gather(count: int, run: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """Makes this process one of `count` learners: the first one starts the others, these join it.

    Args:
        count: how many there are.
        run: what the others do with the arguments.
        arguments: of the command line.

    Raises:
        UserError: if another learner does not get as far as this.
    """
    if count == 1:
        return
    _over.clear()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, available_cores() // count))
    if _invited is not None:
        _join(TCPStore(HOST, _invited[1], is_master=False), _invited[0])
        return
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    for rank in range(1, count):
        _others.append(_Other(run, arguments, Place(rank, count), store.port))
    for other in _others:
        if not other.ready():
            raise UserError(lost(GRACE) or f"Learner {other.number} of {count} does not answer.")
    threading.Thread(target=_watch, daemon=True).start()
    _join(store, Place(0, count))


def _join(store: TCPStore, mine: Place) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else the name of the host has to have an address
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=mine.rank, world_size=mine.count, timeout=LONGEST)
    take_place(mine)


def lost(seconds: float = 0.0) -> str:
    """What to say of another learner that has failed, or does so within as many seconds; nothing if none has."""
    ended = wait([other.process.sentinel for other in _others], seconds) if _others else []
    over = [other for other in _others if other.process.sentinel in ended]
    return next((said for other in over if (said := other.lost(GRACE))), "")  # its status may not be known yet


def await_others() -> None:
    """Waits for the other learners at the end of a run.

    Raises:
        UserError: if one has failed.
    """
    for other in _others:
        if told := other.lost(PATIENCE):
            raise UserError(told)


def leave() -> None:
    """Ends the other learners, and makes this process the only one again. Idempotent."""
    _over.set()
    for other in _others:
        other.process.kill()
    for other in _others:
        other.process.join(GRACE)
        other.heard.close()
    _others.clear()
    take_place(Place())
    if dist.is_initialized():
        dist.destroy_process_group()


def _watch() -> None:
    """Ends this process if it has not noticed in time that another learner has failed: a simulation may take hours."""
    running = list(_others)
    while running and not _over.is_set():
        ended = wait([other.process.sentinel for other in running], 1.0)
        for other in [one for one in running if one.process.sentinel in ended]:
            running.remove(other)
            if (told := other.lost(GRACE)) and not _over.wait(PATIENCE):
                print(f"rlft: {told}", file=sys.stderr, flush=True)
                close_all()
                for one in running:
                    one.process.kill()
                os._exit(1)


def _learn(
    run: Callable[[Sequence[str]], None],
    arguments: Sequence[str],
    mine: Place,
    port: int,
    parent: int,
    first: Connection,
) -> None:
    """The process of another learner: says nothing itself, but tells the first one why it has failed.

    It has not if all of them have ended at once because the first one was asked to.
    """
    global _invited
    if not end_with_parent(parent, signal.SIGKILL):
        return
    _invited = mine, port
    first.send(None)
    said = ""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            run(arguments)
            return
        except LearnerLost:
            pass
        except UserError as error:
            if isinstance(error.__cause__, SIGTERMException):
                return
            said = str(error)
        except BaseException as error:
            said = f"{type(error).__name__} {one_line(error)}\n{traceback.format_exc()}".strip()
    with suppress(OSError):
        first.send(said)
    sys.exit(1)


# ---- Lightning's part ------------------------------------------------------------------------------------------------


class Learners(DDPStrategy):
    """Distributed data parallel without its wrapper: that one expects a gradient step of every minibatch.

    Here an iteration may end early, networks may be frozen, and a step may be skipped. All learners have the same
    weights, and Lightning's own exchanges go on through the same connection.
    """

    def configure_ddp(self) -> None:
        """Gives all learners the weights of the first one."""
        assert self.model is not None
        copy_first(list(self.model.state_dict().values()))

    def post_backward(self, closure_loss: Tensor) -> None:
        """Makes the gradients the same everywhere."""
        assert self.model is not None
        average([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])

    def _configure_launcher(self) -> None:
        """Everybody is there already."""
        self._launcher = None


class Together(LightningEnvironment):
    """Tells Lightning which learner this process is."""

    @property
    def creates_processes_externally(self) -> bool:
        """The processes are not Lightning's."""
        return True

    def local_rank(self) -> int:
        """The number of the learner, and of its device."""
        return place().rank


class Signals(_SignalConnector):
    """Ends a run at a safe point, when the first learner has received SIGTERM or another one has ended.

    Lightning's own handler sends messages from within, which meet whatever the others are waiting for.
    """

    def __init__(self, trainer: lightning.Trainer) -> None:
        super().__init__(trainer)
        self._asked = False

    @property
    def received_sigterm(self) -> bool:
        """Whether to end; Lightning asks before every minibatch, re-rollouts in between."""
        return self._asked or bool(lost())

    @received_sigterm.setter
    def received_sigterm(self, value: bool) -> None:
        self._asked = value

    def _sigterm_notifier_fn(self, signum: Any, _: Any) -> None:
        self._asked = True
