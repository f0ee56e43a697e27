"""The experience of a run in files, one for every iteration, so that a checkpoint need not hold it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from rlft.data import frame_files
from rlft.data.replay_buffer import without_pictures
from rlft.errors import UserError
from rlft.files.rows import entries_of, rows_of
from rlft.files.tensors import read_tensors, write_tensors
from rlft.types import REWARD_INPUT, Experience

Inputs = Mapping[str, Tensor]  # what rewards are made of, by name, [T, N] each
Recompute = Callable[[Experience, Inputs], Experience]
FOLDER = "replay"  # beside `checkpoints`, in the directory of a version


def segment(version: Path, iteration: int) -> Path:
    """The file of an iteration, from 0."""
    return version / FOLDER / f"iteration_{iteration:05d}.safetensors"


def write_segment(version: Path, iteration: int, experience: Experience, inputs: Inputs) -> None:
    """Writes what an iteration has collected, pictures once and compressed; it appears complete or not at all.

    Args:
        version: the directory of the run.
        iteration: from 0.
        experience: `[T, N]`.
        inputs: what the rewards are made of, as far as the task tells, `[T, N]` each.

    Raises:
        UserError: if it cannot be written.
    """
    path = segment(version, iteration)
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {f"{REWARD_INPUT}{name}": tensor.contiguous() for name, tensor in inputs.items()}
    entries = {**entries_of(without_pictures(experience)), **frame_files.packed(experience), **named}
    write_tensors(path, entries, {"format": "rlft-replay-1"})


def read_segment(version: Path, iteration: int) -> tuple[Experience, Inputs]:
    """What an iteration has collected, and what its rewards are made of.

    Raises:
        UserError: if the file is gone, or damaged.
    """
    path = segment(version, iteration)
    if not path.is_file():
        raise UserError(
            f"{path} is gone, without which the run cannot go on: its checkpoint holds no experience. Put it back, "
            "or start anew from the policy: --model.policy with the checkpoint's path."
        )
    tensors, _ = read_tensors(path, "Replay file")
    inputs = {name.removeprefix(REWARD_INPUT): t for name, t in tensors.items() if name.startswith(REWARD_INPUT)}
    return frame_files.with_pictures(rows_of(Experience, tensors), tensors), inputs


def take_over(source: Path, version: Path, iterations: Sequence[int], again: Recompute | None) -> None:
    """Brings the files of another version here, without copying them where nothing changes and the system allows it.

    Args:
        source: the directory of the run that this one goes on from.
        version: the directory of this one.
        iterations: which.
        again: what stored rewards have to go through, if they are of another reward.
    """
    for iteration in iterations:
        path, own = segment(source, iteration), segment(version, iteration)
        if own.exists():
            continue
        if again is not None:
            experience, inputs = read_segment(source, iteration)
            write_segment(version, iteration, again(experience, inputs), inputs)
            continue
        own.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, own)
        except OSError:
            shutil.copy2(path, own)
