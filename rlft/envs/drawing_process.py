"""What runs in the process that draws; see `rlft.envs.drawing`.

python -m rlft.envs.drawing_process <file descriptor of a connection> <process id of the parent>
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

from rlft.envs.drawing import Answer, receive, send
from rlft.errors import UserError
from rlft.system import end_with_parent


def main(descriptor: int, parent: int) -> None:
    """Says what it draws with, builds the scene, and answers until the connection closes."""
    if not end_with_parent(parent, signal.SIGKILL):
        return
    torch.set_num_threads(1)
    connection = Connection(descriptor)
    env, size = receive(connection)
    if not _answer(connection, env.drawing_device):
        return
    renderer: Any = None

    def build() -> None:
        nonlocal renderer
        renderer = env.renderer(size)
        renderer.picture()  # compiles the shaders

    if not _answer(connection, build):
        return
    while True:
        method, states = receive(connection)
        _answer(connection, partial(getattr(renderer, method), states))


def _answer(connection: Connection, work: Callable[[], Any]) -> bool:
    """Sends what comes of it; returns whether it was done."""
    try:
        answer = Answer(work())
    except UserError as error:
        answer = Answer(error=error)
    send(connection, tuple(answer))
    return answer.error is None


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
    except EOFError:  # the main process has closed the connection
        sys.exit(0)
