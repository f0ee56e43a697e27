"""Drawing in a process of its own, seen from here.

What draws is chosen by environment variables that count before SAPIEN is imported, a process that has looked for a
device in vain finds none later, SwiftShader writes warnings about itself, and Ctrl-C is for the main process alone.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from glob import glob
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rlft.envs.maniskill.drawing import NO_DEVICE, NoDevice
from rlft.errors import UserError, require
from rlft.types import EnvFactory, EnvStates

# Where Chromium keeps SwiftShader, which draws on any CPU: Debian, Fedora, Google's own package, Playwright.
CHROMIUMS = ("/usr/lib/chromium", "/usr/lib64/chromium-browser", "/opt/google/chrome", "~/.cache/ms-playwright/*/*")
SWIFTSHADER = "vk_swiftshader_icd.json"
NOISE = "UNSUPPORTED"  # in every line that SwiftShader writes


class Answer(NamedTuple):
    """Of the process that draws."""

    content: Any = None
    error: UserError | None = None


class Drawable(Protocol):
    """What the process builds its scene of; it is pickled."""

    def drawing_device(self) -> str:
        """See `EnvFactory.drawing_device`."""
        ...

    def renderer(self, size: int) -> Any:
        """What draws, with the methods that are asked for from here."""
        ...


class DrawingProcess:
    """A process that draws states of one task; implements `rlft.types.Renderer`.

    It goes on building its scene and drawing a first picture, which takes most of a minute on a CPU, while the caller
    does other things; `wait` waits for it.

    Args:
        env: the environment, or what else can be drawn.
        size: width and height of the pictures, in pixels.

    Raises:
        NoDevice: if nothing here can draw.
        UserError: if the environment is not one that can be drawn.
    """

    def __init__(self, env: Drawable, size: int) -> None:
        if type(env).renderer is EnvFactory.renderer or getattr(env, "task", "") == "PointReach":
            name = getattr(env, "task", type(env).__name__)
            raise UserError(f"{name} has no pictures; tasks of ManiSkill and Racing can be recorded.")
        for variables in _devices():
            with suppress(NoDevice):
                self._start(env, size, variables)
                return
        raise NoDevice(NO_DEVICE)

    def _start(self, env: Drawable, size: int, variables: dict[str, str]) -> None:
        """Begins a process and hears what it draws with."""
        self._connection, theirs = Pipe()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process that writes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rlft.envs.drawing_process", str(theirs.fileno()), str(os.getpid())],
            env=_environment(variables),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            start_new_session=True,  # no Ctrl-C and no signal to the group of the main process
        )
        theirs.close()
        self._is_ready = False
        try:
            self.device = str(self._ask(env, size))
        except BaseException:
            self.close()
            raise

    def wait(self) -> None:
        """Returns when pictures can be drawn without delay.

        Raises:
            UserError: if the task cannot be drawn.
        """
        if not self._is_ready:
            self._hear()
            self._is_ready = True

    def aim(self, states: EnvStates) -> None:
        """See `Renderer.aim`."""
        self.wait()
        self._ask("aim", states)

    def frames(self, states: EnvStates) -> NDArray[np.uint8]:
        """See `Renderer.frames`."""
        self.wait()
        drawn: NDArray[np.uint8] = self._ask("frames", states)
        return drawn

    def pictures(self, physics: Tensor) -> NDArray[np.uint8]:
        """See `DrawnScene.pictures`."""
        self.wait()
        drawn: NDArray[np.uint8] = self._ask("pictures", physics)
        return drawn

    def close(self) -> None:
        """Ends the process. Idempotent."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._stderr.close()

    def _ask(self, *request: Any) -> Any:
        send(self._connection, request)
        return self._hear()

    def _hear(self) -> Any:
        try:
            answer = Answer(*receive(self._connection))
        except (EOFError, OSError) as error:
            raise UserError(f"The process that draws {self._ending()}.") from error
        if answer.error is not None:
            raise answer.error
        return answer.content

    def _ending(self) -> str:
        """How it ended, for a sentence that begins with it."""
        status = self._process.wait()
        self._stderr.seek(0)
        lines = [line for line in self._stderr.read().decode(errors="replace").splitlines() if NOISE not in line]
        return f"ended with exit status {status}" + (f": {lines[-1].strip().rstrip('.')}" if lines else "")


def drawing_device() -> str:
    """What pictures would be drawn with.

    Raises:
        NoDevice: if nothing here can draw.
    """
    code = "from rlft.envs.maniskill.drawing import render_device; print(render_device().name)"
    for variables in _devices():
        asked = subprocess.run(
            [sys.executable, "-c", code], env=_environment(variables), capture_output=True, text=True
        )
        if asked.returncode == 0:
            return asked.stdout.splitlines()[-1]
    raise NoDevice(NO_DEVICE)


def check_size(size: int, key: str) -> None:
    """Refuses sizes of pictures in which nothing could be seen, or that no film can have.

    Raises:
        UserError: that calls the size `key`.
    """
    require(64 <= size <= 2048 and size % 2 == 0, key, size, "an even number of pixels from 64 to 2048")


def _devices() -> Iterator[dict[str, str]]:
    """Environment variables to try one after the other: what SAPIEN finds by itself, then SwiftShader."""
    yield {}
    for folder in CHROMIUMS:
        for path in sorted(glob(os.path.join(os.path.expanduser(folder), SWIFTSHADER))):
            yield {"VK_ICD_FILENAMES": path, "VK_DRIVER_FILES": path}


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Of a process that draws."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), **variables}


def send(connection: Connection, message: Any) -> None:
    """Plain pickle: torch would otherwise send tensors as shared memory."""
    connection.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))


def receive(connection: Connection) -> Any:
    """What the other side has sent."""
    return pickle.loads(connection.recv_bytes())
