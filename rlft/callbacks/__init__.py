"""Experiment apparatus: callbacks that observe and steer training, seeing only the module and the trainer."""

from rlft.callbacks.critic_probe import CriticProbe
from rlft.callbacks.deterministic_eval import DeterministicEval
from rlft.callbacks.exploration_schedule import ExplorationSchedule
from rlft.callbacks.freeze_schedule import FreezeSchedule
from rlft.callbacks.iteration_progress import IterationProgress
from rlft.callbacks.learning_rate_schedule import LearningRateSchedule
from rlft.callbacks.pitfalls import Pitfalls
from rlft.callbacks.plateau_breaker import PlateauBreaker
from rlft.callbacks.record_video import RecordVideo
from rlft.callbacks.run_report import RunReport
from rlft.callbacks.start_curriculum import StartCurriculum
from rlft.callbacks.success_checkpoint import SuccessCheckpoint
from rlft.callbacks.tensorboard_overview import TensorBoardOverview
from rlft.callbacks.weight_averaging import WeightEMA

__all__ = [
    "CriticProbe",
    "DeterministicEval",
    "ExplorationSchedule",
    "FreezeSchedule",
    "IterationProgress",
    "LearningRateSchedule",
    "Pitfalls",
    "PlateauBreaker",
    "RecordVideo",
    "RunReport",
    "StartCurriculum",
    "SuccessCheckpoint",
    "TensorBoardOverview",
    "WeightEMA",
]
