"""ManiSkill's `replay_trajectory` where nothing can be drawn, into a file whose name is known.

    python -m rlft.envs.maniskill.replay demos.h5 demos.state.h5 -o state

ManiSkill's own command asks for a renderer, stumbles over some paths and writes beside the source under a name that may
be the source's own. The further arguments are those of ManiSkill's command; `--help` lists them.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from unittest.mock import patch

from rlft.envs.maniskill.building import register_tasks
from rlft.errors import UserError, one_line

SOURCE = "source.h5"


def replay(source: Path, output: Path, options: Sequence[str]) -> tuple[int, int]:
    """Replays the episodes of `source` and writes those that ManiSkill keeps to `output`.

    Args:
        source: the `.h5` file; its `.json` lies beside it.
        output: the `.h5` file to write, with a `.json` beside it.
        options: of ManiSkill's `replay_trajectory`.

    Returns:
        How many episodes were written, and of how many.

    Raises:
        UserError: if a file is missing or there already, or ManiSkill cannot replay the episodes as asked.
    """
    for path in (source, source.with_suffix(".json")):
        if not path.is_file():
            raise UserError(f"{path} is no file; trajectories are an .h5 file and a .json of the same name.")
    for path in (output, output.with_suffix(".json")):
        if path.suffix not in (".h5", ".json") or path.exists():
            raise UserError(f"{path} cannot be written: it exists already, or does not end in .h5.")
    register_tasks(_imports(source))
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as folder:
        with _linked(source, Path(folder)):
            _run(source, options)
        return _take(Path(folder), source, output)


def _imports(source: Path) -> list[str]:
    """Modules that register the task of a file of `rlft collect`."""
    header = json.loads(source.with_suffix(".json").read_text())
    ours = header.get("rlft") if isinstance(header, dict) else None
    return list(ours.get("imports", ())) if isinstance(ours, dict) else []


@contextmanager
def _linked(source: Path, folder: Path) -> Iterator[None]:
    """Works in `folder`, where the two files of `source` have plain names."""
    (folder / SOURCE).symlink_to(source.resolve())  # `.h5`, whatever it is called
    (folder / SOURCE).with_suffix(".json").symlink_to(source.with_suffix(".json").resolve())
    with chdir(folder):
        yield


def _run(source: Path, options: Sequence[str]) -> None:
    gymnasium = importlib.import_module("gymnasium")
    tool = importlib.import_module("mani_skill.trajectory.replay_trajectory")
    arguments = tool.parse_args(["--traj-path", SOURCE, "--save-traj", *options])
    make = gymnasium.make
    try:
        with patch.object(gymnasium, "make", lambda name, **kwargs: make(name, **{**kwargs, "render_backend": "none"})):
            tool.main(arguments)
    except Exception as error:
        reason = one_line(error)[:300].rstrip(".")
        raise UserError(f"ManiSkill cannot replay {source} so: {reason} ({type(error).__name__}).") from error


def _take(folder: Path, source: Path, output: Path) -> tuple[int, int]:
    """Moves what was written to its place; counts its episodes and those of the source."""
    written = next((path for path in folder.glob("*.json") if path.stem != Path(SOURCE).stem), None)
    counts = [
        0 if file is None else len(json.loads(file.read_text())["episodes"])
        for file in (written, source.with_suffix(".json"))
    ]
    if written is None or not counts[0]:
        raise UserError(f"No episode of {source} was replayed with success; --allow-failure keeps the others as well.")
    for suffix in (".json", ".h5"):
        os.replace(written.with_suffix(suffix), output.with_suffix(suffix))
    return counts[0], counts[1]


def main(arguments: Sequence[str]) -> None:
    """Runs the command."""
    if len(arguments) < 2 or arguments[0].startswith("-") or arguments[1].startswith("-"):
        raise UserError(
            "Usage: python -m rlft.envs.maniskill.replay SOURCE.h5 OUTPUT.h5 [replay_trajectory's options]."
        )
    kept, total = replay(Path(arguments[0]), Path(arguments[1]), arguments[2:])
    print(f"{arguments[1]}: {kept} of {total} episodes")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
