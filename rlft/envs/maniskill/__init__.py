"""ManiSkill tasks: the only door to the `mani_skill` package."""

from rlft.envs.maniskill.batch import ManiSkillBatch
from rlft.envs.maniskill.task import ManiSkill

__all__ = ["ManiSkill", "ManiSkillBatch"]
