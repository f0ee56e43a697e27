"""Arguments of the commands that are functions: evaluate, collect, rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jsonargparse

from rlft.errors import UserError


def parse(function: Callable[..., Any], prog: str, description: str, args: Sequence[str]) -> dict[str, Any]:
    """What to call `function` with; its required parameters are positional.

    Raises:
        UserError: if an argument is not what the function takes.
    """
    parser = jsonargparse.ArgumentParser(prog=prog, description=description, exit_on_error=False)
    parser.add_function_arguments(function, as_positional=True)
    try:
        options: dict[str, Any] = vars(parser.instantiate(parser.parse_args(list(args))))
    except jsonargparse.ArgumentError as error:
        from rlft.parse_errors import one_sentence  # imports Lightning, which these commands do without

        raise UserError(f"{prog}: {one_sentence(str(error))}") from error
    return options
