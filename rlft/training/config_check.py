"""Looks at configurations of `rlft fit` without running them; a program of its own, as it takes Lightning.

Reads a JSON object of names and arguments, and writes one of names and what is wrong with them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.studies.study_file import PLACEHOLDER
from rlft.training.checks import check
from rlft.training.cli import RLFTCli, run


class _Unrun(RLFTCli):
    """Goes as far as a configuration can be judged while other runs have yet to make files for it."""

    def _read_checkpoint(self, config: Any, folder: Path | None) -> None:
        """Not yet."""

    def instantiate_classes(self) -> None:
        """Refuses what no run of a study can have; builds what needs no other run."""
        config = self.config.fit
        for name, right in (("logger", None), ("fast_dev_run", False)):
            if config.trainer[name] != right:
                raise UserError(f"trainer.{name} has to be left out; without its files no run of a study is complete.")
        if not any(map(PLACEHOLDER.search, self.arguments)):
            check(self._subcommand_parsers["fit"], config, self.settings)

    def _run_subcommand(self, subcommand: str) -> None:
        """That is for the study."""


def wrong(configurations: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What is wrong with the arguments of each name, of those that are wrong."""
    found = {}
    for name, args in configurations.items():
        try:
            run(args, _Unrun)
        except UserError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    json.dump(wrong(json.load(sys.stdin)), sys.stdout)
