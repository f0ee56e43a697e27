"""Actors and critics."""

from rlft.networks.action_values import ActionValueCritic
from rlft.networks.actors import GaussianActor
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import NoCritic, ValueCritic

__all__ = ["ActionValueCritic", "ConditionedActor", "GaussianActor", "NoCritic", "ValueCritic"]
