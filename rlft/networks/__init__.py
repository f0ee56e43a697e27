"""Actors and critics."""

from rlft.networks.action_values import ActionValueCritic
from rlft.networks.actors import DiagonalGaussianActor, GaussianActor
from rlft.networks.categorical_actor import CategoricalActor
from rlft.networks.conditioned_actor import ConditionedActor
from rlft.networks.critics import NoCritic, ValueCritic
from rlft.networks.deterministic import DeterministicActor
from rlft.networks.encoded_actor import EncodedActor
from rlft.networks.encoded_critic import EncodedCritic
from rlft.networks.epsilon_greedy import EpsilonGreedy
from rlft.networks.noisy_mode import NoisyMode
from rlft.networks.privileged import PrivilegedActor
from rlft.networks.q_ensemble import QEnsemble
from rlft.networks.quantile_actor import QuantileActor
from rlft.networks.residual import ResidualActor
from rlft.networks.squashed import SquashedGaussianActor

__all__ = [
    "ActionValueCritic",
    "CategoricalActor",
    "ConditionedActor",
    "DeterministicActor",
    "DiagonalGaussianActor",
    "EncodedActor",
    "EncodedCritic",
    "EpsilonGreedy",
    "GaussianActor",
    "NoCritic",
    "NoisyMode",
    "PrivilegedActor",
    "QEnsemble",
    "QuantileActor",
    "ResidualActor",
    "SquashedGaussianActor",
    "ValueCritic",
]
