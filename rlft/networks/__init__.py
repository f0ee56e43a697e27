"""Actors and critics."""

from rlft.networks.actors import GaussianActor
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import NoCritic, ValueCritic

__all__ = ["ConditionedActor", "GaussianActor", "NoCritic", "ValueCritic"]
