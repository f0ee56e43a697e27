"""Policy updates: what do we do about how good the actions were?"""

from rlft.update.awr import AWR
from rlft.update.base import PolicyUpdate
from rlft.update.conditioned_recap import ConditionedRECAP
from rlft.update.critic_only import CriticOnly
from rlft.update.ppo import PPO
from rlft.update.recap import RECAP

__all__ = ["AWR", "PPO", "RECAP", "ConditionedRECAP", "CriticOnly", "PolicyUpdate"]
