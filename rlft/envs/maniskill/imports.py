"""Modules of a user that register tasks and robots with ManiSkill: named as for `import`, or by their .py file.

They are imported in every process that builds an environment, as ordinary modules: what they say is pickled, restored
and imported from under their own names, and they may import what lies beside them.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from rlft.errors import UserError, one_line

LOGGER = "mani_skill "  # the space is ManiSkill's
WHERE = "imports of the environment (--data.env.imports, or --env_settings.imports where a policy is played)"


def look_for(names: Sequence[str]) -> None:
    """Looks whether modules are there, without importing them.

    Raises:
        UserError: if one is not, or its file's name is that of another module.
    """
    for name in names:
        file, spec = _file_of(name), _find(name)
        if file is not None and not file.is_file():
            raise UserError(f"There is no file {name}, which {WHERE} name; give its path.")
        if spec is None and file is None:
            raise UserError(
                f"There is no module {name!r}, neither in {Path.cwd()} nor installed, which {WHERE} name; give its "
                "name as for import, or the path of its .py file."
            )
        if file is not None and (spec is None or not spec.origin or Path(spec.origin).resolve() != file.resolve()):
            taken = f": {spec.origin or 'it is built in'}" if spec else ""
            raise UserError(f"{name} has a name that cannot be imported, or is another module's{taken}; rename it.")


def load(names: Sequence[str]) -> None:
    """Imports modules, each once in a process.

    Raises:
        UserError: if one is not there, fails, or registers a name that is registered already.
    """
    look_for(names)
    for name in names:
        file = _file_of(name)
        with _nothing_skipped(name):
            try:
                importlib.import_module(name if file is None else file.stem)
            except UserError:
                raise
            except (Exception, SystemExit) as error:
                raise UserError(
                    f"{name}, which {WHERE} name, cannot be imported: {one_line(error)[:300].rstrip('.')} "
                    f"({type(error).__name__} in {_place(error)})."
                ) from error


def source_digest(name: str) -> str:
    """What tells contents of a module apart: a digest of its file, or of all files of a package.

    What the file itself imports does not count. A module that is not there, or has no source, is known by its name.
    """
    file, spec = _file_of(name), _find(name)
    if spec is not None and spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return _digest_of(tuple(sorted(path for folder in folders for path in folder.rglob("*.py"))))
    origin = file or (Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None)
    return name if origin is None or not origin.is_file() else _digest_of((origin,))


@cache  # what a process has imported it does not import again, whatever becomes of the file
def _digest_of(files: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"


def _file_of(name: str) -> Path | None:
    """Where the .py file lies that a name is the path of; nothing for the name of a module."""
    return Path(name).expanduser().absolute() if name.endswith(".py") or "/" in name else None


def _find(name: str) -> ModuleSpec | None:
    """Finds a module; its folder, or the working directory, becomes the last one that is searched for modules."""
    file = _file_of(name)
    folder = str(Path.cwd() if file is None else file.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()  # it may have been written a moment ago
    try:
        return find_spec(name if file is None else file.stem)
    except (ImportError, ValueError, AttributeError):
        return None


@contextmanager
def _nothing_skipped(name: str) -> Iterator[None]:
    """Refuses registrations that ManiSkill would leave out with no more than a warning."""
    logger, skipped = logging.getLogger(LOGGER), list[str]()

    def note(record: logging.LogRecord) -> bool:
        is_skipped = "Skip registration" in record.getMessage()
        if is_skipped:
            skipped.append(record.getMessage())
        return not is_skipped

    level = logger.level
    logger.setLevel(logging.WARNING)
    logger.addFilter(note)
    try:
        yield
    finally:
        logger.removeFilter(note)
        logger.setLevel(level)
    if skipped:
        kind, uid, *_ = skipped[0].split()
        raise UserError(
            f"{name} registers the {'robot' if kind == 'Agent' else 'task'} {uid}, which is registered already and "
            "would stay as it is; give it another name, or register it with override=True."
        )


def _place(error: BaseException) -> str:
    """The line of code that raised an error."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '?').name}, line {error.lineno}"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith("<frozen")]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
