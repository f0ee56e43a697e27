"""Evaluation and export of averaged weights, while training goes on with the raw ones."""

import lightning.pytorch.callbacks
from torch.optim.swa_utils import get_ema_multi_avg_fn

from rlft.callbacks.access import learner
from rlft.errors import UserError
from rlft.modules.iteration import IterationModule


class WeightEMA(lightning.pytorch.callbacks.WeightAveraging):
    """Exponential moving average of the weights after every gradient step.

    Evaluations, exported policies and the loss of held-out data are those of the average; the policy that collects
    rollouts and learns is the raw one. In a checkpoint `state_dict` holds the average, so that whoever reads a policy
    from it gets the one that was evaluated, and `current_model_state` the raw weights, with which a run goes on.

    Lightning's callback swaps the average in around its validation loop and when training ends. Here the module is told
    what to evaluate instead: nothing has to be swapped back, and the order of callbacks does not matter.

    Args:
        decay: what a gradient step leaves of the average; it remembers about 1 / (1 - decay) steps, from the first on.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"WeightEMA.decay is {decay}; it must be at least 0 and below 1.")
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Makes the average, equal to the weights at the start, what the module has evaluated."""
        super().setup(trainer, pl_module, stage)
        if (average := self._average_model) is not None:
            averaged = average.module
            assert isinstance(averaged, IterationModule)  # a copy of the module
            learner(self, pl_module).evaluate_instead(lambda: averaged)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Follows the module to its device, where it went after `setup`."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leaves the raw weights in the module, unlike Lightning's callback."""
