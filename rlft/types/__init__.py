"""Everything that crosses a module border."""

from rlft.types.actor_critic import Ability, Acted, Actor, Critic, Network
from rlft.types.environment import BatchEnv, EnvFactory, EnvSpec, EnvStates, Step
from rlft.types.learning import (
    AdvantageEstimate,
    Batch,
    BootstrappedBatch,
    CloningBatch,
    DataSource,
    EnvSource,
    Learner,
    LearningRows,
    Steps,
    Transition,
)
from rlft.types.observation import Obs
from rlft.types.rows import TensorRows
from rlft.types.settings import Primitive, settings_of
from rlft.types.simulation import Branches, EpisodeResults, Jobs, Rerollouts, Rollout, Rollouts, Visited

__all__ = [
    "Ability",
    "Acted",
    "Actor",
    "AdvantageEstimate",
    "Batch",
    "BatchEnv",
    "BootstrappedBatch",
    "Branches",
    "CloningBatch",
    "Critic",
    "DataSource",
    "EnvFactory",
    "EnvSource",
    "EnvSpec",
    "EnvStates",
    "EpisodeResults",
    "Jobs",
    "Learner",
    "LearningRows",
    "Network",
    "Obs",
    "Primitive",
    "Rerollouts",
    "Rollout",
    "Rollouts",
    "Step",
    "Steps",
    "TensorRows",
    "Transition",
    "Visited",
    "settings_of",
]
