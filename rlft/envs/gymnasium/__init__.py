"""Any environment of Gymnasium."""

from rlft.envs.gymnasium.factory import Gymnasium

__all__ = ["Gymnasium"]
