"""Command-line arguments, before jsonargparse sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any


def help_of_plugins(args: Sequence[str]) -> list[str]:
    """`--model.update.help PPO` does not say whose `update` that is; without a config jsonargparse would not know."""
    command, *options = args
    for part, name in (("model", "FinetuneModule"), ("data", "RolloutDataModule")):
        if any(re.match(rf"--{part}\.\w+\.help\b", option) for option in options):
            options = [f"--{part}={name}", *options]
    return [command, *options]


def nulls_as_config(args: Sequence[str]) -> list[str]:
    """`--model.update.target_kl null` as a piece of config: jsonargparse 4.53 reads the option's null as "None".

    Only options of plug-ins within the model or the data are concerned; what follows still takes precedence.
    """
    rest = list(args)
    found: list[str] = []
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        path = option.removeprefix("--").replace(".init_args", "").split(".")
        if not equals and rest and rest[0] == "null" and len(path) > 2:
            equals, value = "=", rest.pop(0)
        if value == "null" and len(path) > 2 and option.startswith("--"):
            config: dict[str, Any] = {path[-1]: None}
            for key in reversed(path[:-1]):
                config = {key: {"init_args": config}}
            found.append(f"--config={json.dumps(config)}")
        else:
            found.append(option + equals + value)
    return found
