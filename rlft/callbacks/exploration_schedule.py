"""How much noise the policy acts with, by iteration or env step."""

from __future__ import annotations

import lightning

from rlft.callbacks.access import learner
from rlft.callbacks.schedule import Unit, check_unit, progress
from rlft.errors import UserError
from rlft.modules.piecewise import Interpolation, Piecewise


class ExplorationSchedule(lightning.Callback):
    """Sets how much the actor explores: for Gaussians the log standard deviation, the same for every action dimension.

    It is set before an iteration collects and stays as it is while the iteration learns: gradients do not reach it.
    Logs `charts/log_std`.

    Args:
        points: `[[step, log standard deviation], ...]` with increasing steps; before the first point its value holds,
            after the last one the last.
        unit: what a step is: `iterations` that are complete, or `env_steps` collected, when an iteration begins.
        interpolation: `constant` keeps a point's value up to the next point, `linear` goes there in a straight line.
    """

    def __init__(
        self,
        points: list[tuple[int, float]],
        unit: Unit = "iterations",
        interpolation: Interpolation = "constant",
    ) -> None:
        self.log_std = Piecewise(points, interpolation, "ExplorationSchedule.points")
        self.unit = unit
        self._current = 0.0  # of the running iteration

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Takes what says how much it explores from the optimiser, before a FreezeSchedule looks at what learns."""
        module = learner(self, pl_module)
        check_unit(module, self.unit, "ExplorationSchedule")
        if not module.actor.can("set_exploration"):
            kind = type(module.actor).__name__
            raise UserError(f"ExplorationSchedule has nothing to set: the actor, a {kind}, has no set_exploration.")
        for parameter in module.actor.exploration_parameters():
            parameter.requires_grad_(False)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forgets the Adam moments of a resumed run, in which it may still have been learned."""
        for optimizer in trainer.optimizers:
            for parameter in learner(self, pl_module).actor.exploration_parameters():
                optimizer.state.pop(parameter, None)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Sets the log standard deviation of the iteration that begins; the data module collects later."""
        module = learner(self, pl_module)
        self._current = self.log_std.at(progress(module, self.unit))
        module.actor.set_exploration(self._current)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hands the number to the module, which cleared its metrics after `on_train_epoch_start`."""
        learner(self, pl_module).add_metrics({"charts/log_std": self._current})
