"""`rlft configs`: the configs that rlft brings."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlft.commands.arguments import parse
from rlft.files.own_configs import own_config, own_names, summary


def configs(name: str | None = None) -> None:
    """Lists rlft's own configs, or prints one of them: `rlft configs gae_ppo > mine.yaml`.

    Args:
        name: of the one to print; by default all are listed.

    Raises:
        UserError: if there is none of that name.
    """
    if name is not None:
        sys.stdout.write(own_config(name))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for own in own_names():
        table.add_row(own, Text(summary(own_config(own))))
    Console().print(table)
    print("\n`rlft fit <name>` runs one, `rlft study <name>` one of the studies, `rlft configs <name>` prints one.")


def run(args: Sequence[str]) -> None:
    """Runs `rlft configs` with command-line arguments."""
    typed = [f"--name={args[0]}", *args[1:]] if args and not args[0].startswith("-") else args
    configs(**parse(configs, "rlft configs", "Lists the configs that rlft brings, or prints one.", typed))
