"""Fills pages of the site: a line `<!-- help of fit -->` becomes what `rlft fit --help` prints."""

from __future__ import annotations

import os
import re
from typing import Any

from rlft.commands.completion import printed

HELP = re.compile(r"^<!-- help of (\w*) ?-->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return HELP.sub(lambda found: f"```text\n{help_of(found[1])}```", markdown)


def help_of(command: str) -> str:
    """What is printed for `--help` of a command, or of rlft itself."""
    os.environ["COLUMNS"] = "110"
    return printed(*([command] if command else []), "--help")
