"""Policy updates: what do we do about how good the actions were?"""

from rlft.update.base import PolicyUpdate
from rlft.update.ppo import PPO

__all__ = ["PPO", "PolicyUpdate"]
