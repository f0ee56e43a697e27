"""Everything that crosses a module border."""

from rlft.types.actor_critic import Ability, Acted, Actor, Critic, Network
from rlft.types.addresses import generator_at
from rlft.types.arguments import DataFile, Irrelevant, Length, Mark, ModuleName, NeedsLength, PolicyName, Start
from rlft.types.environment import BatchEnv, EnvFactory, EnvSpec, EnvStates, Step, mismatches, unrecorded
from rlft.types.learning import (
    AdvantageEstimate,
    Batch,
    BootstrappedBatch,
    CloningBatch,
    DataSource,
    EnvSource,
    Experience,
    Learner,
    LearningRows,
    ReplayBatch,
    ReplayLearner,
    ReplaySource,
    ReturnBatch,
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
    "DataFile",
    "DataSource",
    "EnvFactory",
    "EnvSource",
    "EnvSpec",
    "EnvStates",
    "EpisodeResults",
    "Experience",
    "Irrelevant",
    "Jobs",
    "Learner",
    "LearningRows",
    "Length",
    "Mark",
    "ModuleName",
    "NeedsLength",
    "Network",
    "Obs",
    "PolicyName",
    "Primitive",
    "ReplayBatch",
    "ReplayLearner",
    "ReplaySource",
    "Rerollouts",
    "ReturnBatch",
    "Rollout",
    "Rollouts",
    "Start",
    "Step",
    "Steps",
    "TensorRows",
    "Transition",
    "Visited",
    "generator_at",
    "mismatches",
    "settings_of",
    "unrecorded",
]
