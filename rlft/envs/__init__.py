"""Environments: ManiSkill tasks, those of Gymnasium, a race from pixels, and a pure-torch one for tests."""

from rlft.envs.gymnasium import Gymnasium
from rlft.envs.maniskill import ManiSkill
from rlft.envs.point_reach import PointReach
from rlft.envs.racing import Racing

__all__ = ["Gymnasium", "ManiSkill", "PointReach", "Racing"]
