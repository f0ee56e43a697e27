"""Arguments of the commands that are functions: evaluate, collect, rank, compare."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from inspect import signature
from typing import Any

import jsonargparse

from rlft.errors import UserError

TRUTHS = ("true", "false", "yes", "no", "on", "off")  # what may follow a flag, in any case


def parse(
    function: Callable[..., Any],
    prog: str,
    description: str,
    args: Sequence[str],
    several: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """What to call `function` with; its required parameters are positional, and `--flag` alone is `--flag=true`.

    Args:
        function: what the command does.
        prog: how the command is called.
        description: what it does, for `--help`.
        args: as typed.
        several: name and help of a parameter that is a list of strings, one or more of them on the command line.

    Raises:
        UserError: if an argument is not what the function takes.
    """
    parser = jsonargparse.ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False)
    if several:
        parser.add_argument(several[0], nargs="+", type=str, help=several[1])
    parser.add_function_arguments(function, as_positional=True, skip={several[0]} if several else None)
    parameters = signature(function).parameters
    flags = {f"--{name}" for name, one in parameters.items() if isinstance(one.default, bool)}
    try:
        options: dict[str, Any] = vars(parser.instantiate(parser.parse_args(list(_with_values(args, flags)))))
    except jsonargparse.ArgumentError as error:
        from rlft.training.error_sentences import one_sentence

        positional = [name for name, one in parameters.items() if one.default is one.empty]
        names = [name for name in parser.get_defaults().keys() if name not in positional]  # noqa: SIM118  no dict
        sentence = one_sentence(str(error), names)
        raise UserError(f"{prog}: {sentence.rstrip('.')}.") from error
    return options


def _with_values(args: Sequence[str], flags: Collection[str]) -> Iterator[str]:
    """The arguments with a value for each flag that has none, also where a positional one follows it."""
    for arg, following in itertools.zip_longest(args, args[1:], fillvalue=""):
        yield f"{arg}=true" if arg in flags and following.lower() not in TRUTHS else arg
