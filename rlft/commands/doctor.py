"""`rlft doctor`: what this machine and this installation can do, and what each missing piece would add."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlft.commands.arguments import parse
from rlft.envs import ManiSkill
from rlft.envs.drawing import drawing_device
from rlft.envs.maniskill.building import gpu_library
from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.system import available_cores
from rlft.types import BatchEnv
from rlft.videos.files import check_encoder

PACKAGES = ("rlft", "torch", "lightning", "mani_skill", "sapien", "gymnasium", "jsonargparse")
SCENES, STEPS = 64, 20
GIB = 2**30


class Finding(NamedTuple):
    """About one piece."""

    piece: str
    works: bool
    told: str  # what was found, or what is missing and what it would add


def doctor(log_dir: str = "lightning_logs") -> list[Finding]:
    """Looks at versions, processor, simulator, GPU, drawing, clusters and folders; takes about twenty seconds.

    Args:
        log_dir: where runs would be written.

    Raises:
        UserError: if nothing can be trained here.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    with Console(stderr=True).status("looking at this machine"):
        findings = [find() for find in (_versions, _processor, _simulator, _gpu, _gpu_simulation, _drawing, _films)]
        findings += [
            _package("ray", "--data.workers Ray and rlft study --executor ray"),
            _package("submitit", "rlft study --executor slurm"),
        ]
        findings.append(_folder(typed_path(log_dir)))
    for finding in findings:
        table.add_row("ok" if finding.works else "--", finding.piece, Text(finding.told, overflow="fold"))
    Console().print(table)
    broken = [finding for finding in findings if not finding.works and finding.piece in ("simulator", "runs")]
    if broken:
        raise UserError(f"Nothing can be trained here: {broken[0].told}")
    return findings


def _versions() -> Finding:
    found = [f"{name} {_version(name)}" for name in PACKAGES]
    return Finding("versions", True, f"Python {platform.python_version()}, {', '.join(found)}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


def _processor() -> Finding:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    cores = available_cores()
    return Finding("processor", True, f"{cores} cores to use, {memory:.0f} GiB; one worker process per core")


def _simulator() -> Finding:
    """Builds PickCube and steps it."""
    try:
        rate = _env_steps_per_second(ManiSkill(device="cpu").make(SCENES))
    except UserError as error:
        return Finding("simulator", False, str(error))
    return Finding("simulator", True, f"PickCube-v1, {SCENES} scenes in one process: {rate:,.0f} env steps per second")


def _env_steps_per_second(env: BatchEnv) -> float:
    action = torch.zeros(SCENES, env.spec.action_dim)
    env.restore(range(SCENES), env.initial_states(0))
    env.step(action)
    started = time.perf_counter()
    for _ in range(STEPS):
        env.step(action)
    return SCENES * STEPS / (time.perf_counter() - started)


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("GPU", False, "PyTorch sees none; networks learn and tasks are simulated on the CPU")
    return Finding("GPU", True, f"{torch.cuda.get_device_name()}; --trainer.accelerator cpu learns on the CPU")


def _gpu_simulation() -> Finding:
    library = gpu_library()
    works = library.is_file() and torch.cuda.is_available()
    missing = (
        f"needs a GPU and {library}, which SAPIEN fetches when it is first used; then one process drives all scenes"
    )
    return Finding("GPU simulation", works, str(library) if works else missing)


def _drawing() -> Finding:
    try:
        return Finding("drawing", True, f"{drawing_device()}, for rlft record and RecordVideo")
    except UserError as error:
        return Finding("drawing", False, f"{error} It is for rlft record and RecordVideo.")


def _films() -> Finding:
    try:
        check_encoder()
    except UserError as error:
        return Finding("films", False, str(error))
    return Finding("films", True, "ffmpeg writes mp4")


def _package(name: str, use: str) -> Finding:
    if find_spec(name) is None:
        extra = {"submitit": "slurm"}.get(name, name)
        return Finding(name, False, f'`pip install "rlft[{extra}]"` is for {use}')
    return Finding(name, True, f"{_version(name)}, for {use}")


def _folder(folder: Path) -> Finding:
    """Whether runs can be written, into a folder that may not be there yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Finding("runs", False, f"{folder} cannot be written; choose another folder with --log_dir")
    return Finding("runs", True, f"go to {folder}, {shutil.disk_usage(there).free / GIB:.0f} GiB free")


def run(args: Sequence[str]) -> None:
    """Runs `rlft doctor` with command-line arguments."""
    doctor(**parse(doctor, "rlft doctor", "Says what this machine and this installation can do.", args))
