"""What Lightning has to know of several learners, which have found each other without it."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from torch import Tensor

from rlft.learners import average, copy_first, place
from rlft.training.several_learners import lost


class Learners(DDPStrategy):
    """Distributed data parallel without its wrapper: that one expects a gradient step of every minibatch.

    Here an iteration may end early, networks may be frozen, and a step may be skipped. All learners have the same
    weights, and Lightning's own exchanges go on through the same connection.
    """

    def configure_ddp(self) -> None:
        """Gives all learners the weights of the first one."""
        assert self.model is not None
        copy_first(list(self.model.state_dict().values()))

    def post_backward(self, closure_loss: Tensor) -> None:
        """Makes the gradients the same everywhere."""
        assert self.model is not None
        average([parameter.grad for parameter in self.model.parameters() if parameter.grad is not None])

    def _configure_launcher(self) -> None:
        """Everybody is there already."""
        self._launcher = None


class Together(LightningEnvironment):
    """Tells Lightning which learner this process is."""

    @property
    def creates_processes_externally(self) -> bool:
        """The processes are not Lightning's."""
        return True

    def local_rank(self) -> int:
        """The number of the learner, and of its device."""
        return place().rank


class Signals(_SignalConnector):
    """Ends a run at a safe point, when the first learner has received SIGTERM or another one has ended.

    Lightning's own handler sends messages from within, which meet whatever the others are waiting for.
    """

    def __init__(self, trainer: lightning.Trainer) -> None:
        super().__init__(trainer)
        self._asked = False

    @property
    def received_sigterm(self) -> bool:
        """Whether to end; Lightning asks before every minibatch, re-rollouts in between."""
        return self._asked or bool(lost())

    @received_sigterm.setter
    def received_sigterm(self, value: bool) -> None:
        self._asked = value

    def _sigterm_notifier_fn(self, signum: Any, _: Any) -> None:
        self._asked = True
