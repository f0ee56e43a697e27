"""Evaluation and export of averaged weights, while training goes on with the raw ones."""

from typing import Any

import lightning.pytorch.callbacks
import torch
from torch import Tensor

from rlft.callbacks.access import learner
from rlft.errors import UserError
from rlft.modules.iteration import IterationModule


class WeightEMA(lightning.pytorch.callbacks.WeightAveraging):
    """Exponential moving average of the weights after every gradient step.

    Evaluations, exported policies and the loss of held-out data are those of the average; the policy that collects
    rollouts and learns is the raw one. In a checkpoint `state_dict` holds the average, so that whoever reads a policy
    from it gets the one that was evaluated, and `current_model_state` the raw weights, with which a run goes on.
    Buffers, such as the moments that observations are standardised with, are not averaged but taken as they are.

    Lightning's callback swaps the average in around its validation loop and when training ends. Here the module is told
    what to evaluate instead: nothing has to be swapped back, and the order of callbacks does not matter.

    Args:
        decay: what a gradient step leaves of the average; it remembers about 1 / (1 - decay) steps, from the first on.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"WeightEMA.decay is {decay}; it must be at least 0 and below 1.")
        super().__init__(use_buffers=False)
        self._decay = decay
        self._weights: tuple[list[Tensor], list[Tensor]] = [], []  # averaged, raw

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Makes the average, equal to the weights at the start, what the module has evaluated."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            learner(self, pl_module).evaluate_instead(lambda: self._averaged(pl_module))

    def _averaged(self, pl_module: lightning.LightningModule) -> IterationModule:
        """A copy of the module with the averaged weights, and everything else as it is now."""
        assert self._average_model is not None
        averaged = self._average_model.module
        assert isinstance(averaged, IterationModule)
        for ours, raw in zip(averaged.buffers(), pl_module.buffers(), strict=True):
            ours.copy_(raw)
        return averaged

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Follows the module to its device, where it went after `setup`."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Finds the tensors: to do that at every gradient step takes longer than to average them."""
        assert self._average_model is not None
        averaged, raw = (list(module.parameters()) for module in (self._average_model.module, pl_module))
        self._weights = [weight.detach() for weight in averaged], [weight.detach() for weight in raw]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the average after a gradient step; the first one it takes as it is."""
        if trainer.global_step <= self._latest_update_step:
            return
        assert self._average_model is not None
        share = 1 - self._decay if self._average_model.n_averaged else 1.0
        torch._foreach_lerp_(*self._weights, share)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Saves the average with everything else as it is now."""
        self._averaged(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leaves the raw weights in the module, unlike Lightning's callback."""
