"""Data modules: where the transitions of an iteration come from."""

from rlft.data.offline_datamodule import OfflineDataModule
from rlft.data.replay_datamodule import ReplayDataModule
from rlft.data.reward_normalization import RewardNormalization
from rlft.data.rollout_datamodule import RolloutDataModule

__all__ = ["OfflineDataModule", "ReplayDataModule", "RewardNormalization", "RolloutDataModule"]
