"""Data modules: where the transitions of an iteration come from."""

from rlft.data.offline_datamodule import OfflineDataModule
from rlft.data.rollout_datamodule import RolloutDataModule

__all__ = ["OfflineDataModule", "RolloutDataModule"]
