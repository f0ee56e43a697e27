"""Learning rates by iteration or env step."""

from __future__ import annotations

import lightning

from rlft.callbacks.access import learner
from rlft.callbacks.schedule import Unit, check_unit, progress
from rlft.errors import UserError
from rlft.modules.parameters import ParameterGroup
from rlft.modules.piecewise import Interpolation, Piecewise


class LearningRateSchedule(lightning.Callback):
    """Multiplies learning rates by a factor that is given by points and changes from iteration to iteration.

    Several of them, for several parts of the networks, multiply where they overlap. The learning rates themselves are
    logged as `charts/learning_rate/*`.

    Args:
        points: `[[step, factor], ...]` with increasing steps; before the first point its factor holds, after the last
            one the last.
        unit: what a step is: `iterations` that are complete, or `env_steps` collected, when an iteration begins.
        interpolation: `constant` keeps a point's factor up to the next point, `linear` goes there in a straight line.
        group: submodule whose learning rate it is, by name or glob, e.g. `actor.encoder`; `null` means all.
    """

    def __init__(
        self,
        points: list[tuple[int, float]],
        unit: Unit = "iterations",
        interpolation: Interpolation = "constant",
        group: str | None = None,
    ) -> None:
        for step, factor in points:
            if factor < 0:
                raise UserError(f"LearningRateSchedule.points has {factor} at step {step}; it must be at least 0.")
        self.factors = Piecewise(points, interpolation, "LearningRateSchedule.points")
        self.unit = unit
        self.group = group
        self._factor = 1.0  # of the running iteration

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Sets the group apart, and refuses one that the module does not have before anything is simulated."""
        module = learner(self, pl_module)
        check_unit(module, self.unit, "LearningRateSchedule")
        if self.group is not None:
            module.optimisation.set_apart(self.group, "LearningRateSchedule.group")
        module.optimisation.multiply(self._factor_of)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Looks up the factor of the iteration that begins."""
        self._factor = self.factors.at(progress(learner(self, pl_module), self.unit))

    def _factor_of(self, group: ParameterGroup) -> float:
        return self._factor if self.group is None or self.group in group.names else 1.0
