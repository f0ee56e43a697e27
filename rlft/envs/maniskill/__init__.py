"""ManiSkill tasks: the only door to the `mani_skill` package."""

from rlft.envs.maniskill.batch import ManiSkillBatch
from rlft.envs.maniskill.task import AS_RECORDED, EnvSettings, ManiSkill

__all__ = ["AS_RECORDED", "EnvSettings", "ManiSkill", "ManiSkillBatch"]
