"""Environments: ManiSkill tasks, and a pure-torch one for tests."""

from rlft.envs.maniskill import ManiSkill
from rlft.envs.point_reach import PointReach

__all__ = ["ManiSkill", "PointReach"]
