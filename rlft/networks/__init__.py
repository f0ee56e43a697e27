"""Actors and critics."""

from rlft.networks.actors import GaussianActor
from rlft.networks.critics import ValueCritic

__all__ = ["GaussianActor", "ValueCritic"]
