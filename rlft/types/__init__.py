"""Everything that crosses a module border."""

from rlft.types.actor_critic import Ability, Acted, Actor, Critic, Network
from rlft.types.environment import BatchEnv, EnvFactory, EnvSpec, EnvStates, Step
from rlft.types.learning import AdvantageEstimate, Batch, CloningBatch, Transition
from rlft.types.rows import TensorRows
from rlft.types.simulation import Branches, EpisodeResults, Jobs, Rerollouts, Rollout, Rollouts, Visited

__all__ = [
    "Ability",
    "Acted",
    "Actor",
    "AdvantageEstimate",
    "Batch",
    "BatchEnv",
    "Branches",
    "CloningBatch",
    "Critic",
    "EnvFactory",
    "EnvSpec",
    "EnvStates",
    "EpisodeResults",
    "Jobs",
    "Network",
    "Rerollouts",
    "Rollout",
    "Rollouts",
    "Step",
    "TensorRows",
    "Transition",
    "Visited",
]
