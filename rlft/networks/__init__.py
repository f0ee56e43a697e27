"""Actors and critics."""

from rlft.networks.action_values import ActionValueCritic
from rlft.networks.actors import DiagonalGaussianActor, GaussianActor
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import NoCritic, ValueCritic
from rlft.networks.deterministic import DeterministicActor

__all__ = [
    "ActionValueCritic",
    "ConditionedActor",
    "DeterministicActor",
    "DiagonalGaussianActor",
    "GaussianActor",
    "NoCritic",
    "ValueCritic",
]
