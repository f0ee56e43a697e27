"""Experiment apparatus: callbacks that observe and steer training, seeing only the module and the trainer."""

from callbacks.critic_probe import CriticProbe
from callbacks.deterministic_eval import DeterministicEval
from callbacks.exploration_schedule import ExplorationSchedule
from callbacks.freeze_schedule import FreezeSchedule
from callbacks.iteration_progress import IterationProgress
from callbacks.learning_rate_schedule import LearningRateSchedule
from callbacks.pitfalls import Pitfalls
from callbacks.plateau_breaker import PlateauBreaker
from callbacks.run_report import RunReport
from callbacks.success_checkpoint import SuccessCheckpoint
from callbacks.weight_averaging import WeightEMA

__all__ = [
    "CriticProbe",
    "DeterministicEval",
    "ExplorationSchedule",
    "FreezeSchedule",
    "IterationProgress",
    "LearningRateSchedule",
    "Pitfalls",
    "PlateauBreaker",
    "RunReport",
    "SuccessCheckpoint",
    "WeightEMA",
]
