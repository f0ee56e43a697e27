"""`rlft configs`: the configs that rlft brings."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from rlft.commands.arguments import parse
from rlft.files.own_configs import own_config, own_names, summary

KINDS: dict[str | tuple[str, ...], str] = {  # how names begin, and what such a config is
    "": "Finetune a policy, or learn from scratch",
    "pretrain_": "Start policies and critics",
    ("pixels_", "racing_"): "From pixels",
    "smoke": "Overlays, which make a config finish in seconds",
    "studies/": "Studies",
}


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
    names = own_names()
    of_kind = {own: next(kind for start, kind in reversed(KINDS.items()) if own.startswith(start)) for own in names}
    longest = max(len(own) for own in names)
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for kind in KINDS.values():
        print(f"\n{kind}")
        for own in (own for own in names if of_kind[own] == kind):
            line = f"  {own:{longest}}  {summary(own_config(own))}"
            print(line if len(line) <= room else f"{line[: room - 1]}…")
    print("\n`rlft fit <name>` runs one, `rlft study <name>` one of the studies, `rlft configs <name>` prints one.")


def run(args: Sequence[str]) -> None:
    """Runs `rlft configs` with command-line arguments."""
    typed = [f"--name={args[0]}", *args[1:]] if args and not args[0].startswith("-") else args
    configs(**parse(configs, "rlft configs", "Lists the configs that rlft brings, or prints one.", typed))
