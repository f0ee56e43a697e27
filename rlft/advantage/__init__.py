"""Advantage estimators: how good was this action?"""

from rlft.advantage.base import AdvantageEstimator
from rlft.advantage.gae import GAE
from rlft.advantage.monte_carlo import MonteCarlo
from rlft.advantage.rerollout import MonteCarloRerollout

__all__ = ["GAE", "AdvantageEstimator", "MonteCarlo", "MonteCarloRerollout"]
