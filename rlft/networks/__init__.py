"""Actors and critics."""

from rlft.networks.action_values import ActionValueCritic
from rlft.networks.actors import DiagonalGaussianActor, GaussianActor
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import NoCritic, ValueCritic
from rlft.networks.deterministic import DeterministicActor
from rlft.networks.noisy_mode import NoisyMode
from rlft.networks.q_ensemble import QEnsemble
from rlft.networks.residual import ResidualActor
from rlft.networks.squashed import SquashedGaussianActor

__all__ = [
    "ActionValueCritic",
    "ConditionedActor",
    "DeterministicActor",
    "DiagonalGaussianActor",
    "GaussianActor",
    "NoCritic",
    "NoisyMode",
    "QEnsemble",
    "ResidualActor",
    "SquashedGaussianActor",
    "ValueCritic",
]
