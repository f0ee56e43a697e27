"""What the command line makes of configurations, without building anything."""

import json
from functools import cache

import pytest
import yaml
from jsonargparse import Namespace

from rlft.errors import UserError
from rlft.training.cli import SECTIONS, RLFTCli, run
from rlft.training.config_tree import Setting, walk
from rlft.training.run_identity import content
from tests.support.schema import BASE


class Parsed(RLFTCli):
    """Stops when the configuration is resolved, and the run has an identity and a name."""

    made: list["Parsed"] = []  # noqa: RUF012  the command line makes the instances

    def instantiate_classes(self) -> None:
        """That is enough."""
        self._name_run(self.config.fit)
        self.made.append(self)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is trained."""


def parsed(*arguments) -> Parsed:
    """What `rlft fit` with these arguments would run."""
    run(["fit", *map(str, arguments)], Parsed)
    return Parsed.made.pop()


@cache
def _parser():
    return parsed(f"--config={text(BASE)}").parser


def answer_to(config: Namespace, log_dir) -> str:
    """What `rlft fit` says to a configuration that has been parsed, which is most of its work."""

    class Given(RLFTCli):
        def parse_arguments(self, parser, args) -> None:
            self.arguments, self.config = args, config

    with pytest.raises(UserError) as error:
        run(["fit", f"--log_dir={log_dir}"], Given)
    return f"rlft: {error.value}"


def values(config) -> Namespace:
    """What the parser makes of a configuration."""
    return _parser().parse_args(["fit", f"--config={text(config)}"])


def text(config) -> str:
    """A configuration as one argument."""
    return yaml.safe_dump(config, default_flow_style=True, width=10**9)


def resolved(config):
    """A configuration with all defaults; whether its values make sense together is not asked."""
    dumped = _parser().dump(values(config), format="json", skip_none=False, skip_validation=True)
    return json.loads(dumped)["fit"]


def settings_of(config) -> list[Setting]:
    """The settings of a configuration with all defaults."""
    return list(walk(resolved(config), SECTIONS))


def content_of(config):
    """The settings of it that results depend on."""
    return content(settings_of(config))
