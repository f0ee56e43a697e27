"""Everything that crosses a module border."""

from rlft.types.actor_critic import Actor, Critic
from rlft.types.arguments import DataFile, Irrelevant, Length, Mark, NeedsLength, PolicyName, Start
from rlft.types.environment import BatchEnv, EnvFactory, EnvSpec, EnvStates, Step
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
    "DataFile",
    "EnvFactory",
    "EnvSpec",
    "EnvStates",
    "EpisodeResults",
    "Irrelevant",
    "Jobs",
    "Length",
    "Mark",
    "NeedsLength",
    "PolicyName",
    "Rerollouts",
    "Rollout",
    "Rollouts",
    "Start",
    "Step",
    "TensorRows",
    "Transition",
    "Visited",
]
