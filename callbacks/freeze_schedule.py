"""Freezing submodules for some iterations."""

from __future__ import annotations

from dataclasses import dataclass

import lightning
from torch import nn

from rlft.errors import UserError


@dataclass(frozen=True)
class Freeze:
    """One line of a schedule.

    Args:
        module: submodule to freeze, e.g. `critic`, `actor.mean` or `actor.mean.0`; also a single parameter such as
            `actor.log_std`.
        start: first iteration (from 0) in which it is frozen.
        end: first iteration in which it is free again; `null` keeps it frozen to the end of the run.
    """

    module: str
    start: int = 0
    end: int | None = None


class FreezeSchedule(lightning.Callback):
    """Freezes submodules from one iteration to another.

    A frozen tensor takes no gradient and stays bit-identical. When it is freed it starts with new Adam moments: those
    from before would push it in a direction that has long been out of date.

    Args:
        schedule: what to freeze, and when.
    """

    def __init__(self, schedule: list[Freeze]) -> None:
        self.schedule = schedule

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses names that the module does not have before anything is simulated."""
        for freeze in self.schedule:
            self._parameters(pl_module, freeze.module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Applies the schedule to the iteration that begins."""
        iteration = trainer.current_epoch
        frozen = {
            parameter
            for freeze in self.schedule
            if freeze.start <= iteration and (freeze.end is None or iteration < freeze.end)
            for parameter in self._parameters(pl_module, freeze.module)
        }
        for parameter in pl_module.parameters():
            learns = parameter not in frozen
            if parameter.requires_grad != learns:
                parameter.requires_grad_(learns)
                parameter.grad = None
                for optimizer in trainer.optimizers:
                    optimizer.state.pop(parameter, None)

    @staticmethod
    def _parameters(module: nn.Module, name: str) -> list[nn.Parameter]:
        found = [p for key, p in module.named_parameters() if key == name or key.startswith(f"{name}.")]
        if not found:
            tops = sorted({".".join(key.split(".")[:2]) for key, _ in module.named_parameters()})
            raise UserError(f"FreezeSchedule: there is no submodule {name!r}; try one of {', '.join(tops)}.")
        return found
