"""Advantage estimators: how good was this action?"""

from rlft.advantage.base import AdvantageEstimator
from rlft.advantage.gae import GAE
from rlft.advantage.iql import IQL
from rlft.advantage.monte_carlo import MonteCarlo
from rlft.advantage.rerollout import MonteCarloRerollout
from rlft.advantage.sarsa import SARSA

__all__ = ["GAE", "IQL", "SARSA", "AdvantageEstimator", "MonteCarlo", "MonteCarloRerollout"]
