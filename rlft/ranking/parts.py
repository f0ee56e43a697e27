"""Results of expensive simulation, kept in one file from which an interrupted study goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from rlft.errors import UserError
from rlft.files.rows import entries_of, rows_of, with_log_prob_known
from rlft.files.tensors import read_tensors, write_tensors

FORMAT = "rlft-study-1"
D = TypeVar("D")


class Parts:
    """Dataclasses of tensors by name, in one safetensors file with the settings they were made with in its header.

    Args:
        path: the file; it is read if it exists, and replaced whenever a part is added.
        settings: everything the parts depend on.

    Raises:
        UserError: if the file is broken, or was made with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, str | int | float]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.sim_steps: dict[str, int] = {}  # of each part
        self._tensors: dict[str, Tensor] = {}
        if path.exists():
            self._read()

    def get(self, name: str, kind: type[D], make: Callable[[], tuple[D, int]]) -> D:
        """The part called `name`, from the file or else from `make`, which also says how many steps it simulated."""
        if name not in self.sim_steps:
            part, self.sim_steps[name] = make()
            self._tensors |= {f"{name}.{key}": tensor for key, tensor in entries_of(part).items()}
            self._write()
        prefix = f"{name}."
        entries = with_log_prob_known(self._tensors, prefix)
        return rows_of(kind, {k.removeprefix(prefix): t for k, t in entries.items() if k.startswith(prefix)})

    def missing(self, name: str) -> bool:
        """Whether this part still has to be made."""
        return name not in self.sim_steps

    def _read(self) -> None:
        try:
            self._tensors, header = read_tensors(self.path, "The simulation of rlft rank")
            found = json.loads(header["settings"])
            self.sim_steps = json.loads(header["sim_steps"])
        except (UserError, KeyError, ValueError) as error:
            raise UserError(f"{self.path} is no simulation of rlft rank; choose another --out.") from error
        for name in sorted(found.keys() | self.settings.keys()):
            was, wanted = found.get(name), self.settings.get(name)
            if was != wanted:
                raise UserError(f"{self.path} was made with {name} {was}, not {wanted}; choose another --out.")

    def _write(self) -> None:
        header = {"settings": json.dumps(self.settings), "sim_steps": json.dumps(self.sim_steps)}
        write_tensors(self.path, self._tensors, {"format": FORMAT, **header})
