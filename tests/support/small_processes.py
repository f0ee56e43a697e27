"""Environments of which few fit into a process; apart from the tests so that workers can import them quickly."""

from rlft.envs import PointReach
from rlft.types import EnvFactory


class ThreePerProcess(PointReach, EnvFactory):
    """As if a fourth would end the process."""

    def scenes_per_process(self):
        return 3
