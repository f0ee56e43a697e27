"""Everything that crosses a module border."""

from rlft.types.actor_critic import Actor, Critic
from rlft.types.environment import BatchEnv, EnvFactory, EnvSpec, EnvStates, Step, mismatches, unrecorded
from rlft.types.learning import AdvantageEstimate, Batch, CloningBatch, Transition
from rlft.types.rows import TensorRows
from rlft.types.simulation import Branches, EpisodeResults, Jobs, Rerollouts, Rollout, Rollouts, Visited

__all__ = [
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
    "Rerollouts",
    "Rollout",
    "Rollouts",
    "Step",
    "TensorRows",
    "Transition",
    "Visited",
    "mismatches",
    "unrecorded",
]
