"""What tests repeat hundreds of times, made once per process of pytest."""

import functools
import gc

from rlft.envs.maniskill.building import registered


def parse_files_once(command_line):
    """Keeps what config files alone make of a run, which names it: to parse them takes a third of a short run.

    Args:
        command_line: the class `RLFTCli`.
    """
    parse, known = command_line._settings_of, {}

    @functools.wraps(parse)
    def parse_once(self, files):
        key = self.subcommand, *((file, file.read_bytes()) for file in files)
        if key not in known:
            known[key] = parse(self, files)
        return known[key]

    command_line._settings_of = parse_once


@functools.cache
def collect_less():
    """ManiSkill looks for garbage whenever it builds or closes a scene: half a second, with all that is imported."""
    registered("PickCube-v1")  # imports it
    gc.collect()
    gc.freeze()
