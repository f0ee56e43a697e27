"""What a constructor's parameter says of itself beside its type, for whoever reads configurations.

    def __init__(self, policy: PolicyName | None = None, num_workers: Irrelevant[int | None] = None) -> None: ...

A parameter without any of these is a setting that results depend on.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Annotated, TypeVar

T = TypeVar("T")


class Mark(Enum):
    """See the types below; also of everything within such an argument, but for the names of files."""

    POLICY = auto()
    DATA_FILE = auto()
    MODULE = auto()
    IRRELEVANT = auto()
    LENGTH = auto()
    NEEDS_LENGTH = auto()
    START = auto()


PolicyName = Annotated[str, Mark.POLICY]
"""A policy, by zoo name or file: looked up before anything is built, and told apart by its content."""
DataFile = Annotated[str, Mark.DATA_FILE]
"""A file of data: looked for before anything is built, and told apart by its content."""
ModuleName = Annotated[str, Mark.MODULE]
"""A module to import, by name or by its .py file: told apart by the content of its source."""
Irrelevant = Annotated[T, Mark.IRRELEVANT]
"""It cannot change results: workers, devices, what is shown."""
Length = Annotated[T, Mark.LENGTH]
"""It says how long a run is, not what it does: going on with a larger one is the same run."""
NeedsLength = Annotated[T, Mark.NEEDS_LENGTH]
"""If it is true, what a run does depends on how long it is to be: a learning rate falls to 0 at its end."""
Start = Annotated[T, Mark.START]
"""It decides with which networks and weights a run starts; one that goes on from a checkpoint has those already."""
