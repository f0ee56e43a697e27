"""A module's watch over NaN and infinity: when to look, and whether to stop or to go on without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.modules import bad_numbers
from rlft.modules.bad_numbers import Finding, OnBadNumbers
from rlft.runs import directory
from rlft.types import AdvantageEstimate, Rollout, TensorRows


class NumberWatch:
    """Notices numbers that are not finite in rollouts, gradient steps and weights.

    Args:
        module: that learns.
        on_bad_numbers: `stop` ends the run; `skip` goes on without them. Bad weights always end it.
        outputs: what the networks make of a minibatch, `[B, ...]` each, to describe what is wrong with it.
    """

    def __init__(
        self,
        module: lightning.LightningModule,
        on_bad_numbers: OnBadNumbers,
        outputs: Callable[[Any], Mapping[str, Tensor]],
    ) -> None:
        self.skips = on_bad_numbers == "skip"
        self.skipped = False  # the running gradient step
        self._module, self._outputs = module, outputs
        self._minibatch, self._number = TensorRows(), 0  # the running one, numbered from 1 within the iteration
        self._loss: Tensor | None = None  # of the running minibatch, if something is learned from it

    def usable(self, rollout: Rollout, labels: AdvantageEstimate | None) -> tuple[Tensor, int]:
        """Which transitions, `[T, N]` bool, to learn from, and how many more there are that are not finite.

        Raises:
            UserError: if there are some and nothing is skipped. What the labels mask may hold anything.
        """
        wanted = torch.ones_like(rollout.done) if labels is None else labels.mask
        good = wanted & bad_numbers.good_rows(rollout, labels)
        bad = int((wanted & ~good).sum())
        if bad and not self.skips:
            raise self._stopped(bad_numbers.in_rows(rollout, labels, wanted))
        return good, bad

    def begin_minibatch(self, batch: TensorRows, number: int) -> None:
        """Keeps the minibatch for a description of what is wrong with it."""
        self._minibatch, self._number = batch, number

    def begin_step(self) -> None:
        """Forgets the step before."""
        self._loss, self.skipped = None, False

    def keep_loss(self, loss: Tensor) -> None:
        """Until the gradients are known: looking at both at once waits for the device only once."""
        self._loss = loss.detach()

    def is_good_step(self, norms: Sequence[Tensor]) -> bool:
        """Whether the loss and the gradient norms are finite; if not, the step is to be skipped.

        Raises:
            UserError: if nothing is skipped, or skipping would not mend the weights.
        """
        if self._loss is None or bool(sum(norms, self._loss).isfinite()):  # a sum is not, if any part is not
            return True
        if not self.skips or bad_numbers.bad_weights(self._module):
            batch, number = self._minibatch, self._number
            raise self._stopped(bad_numbers.in_step(self._module, number, self._loss, batch, self._outputs(batch)))
        self.skipped = True
        return False

    def refuse_bad_weights(self) -> None:
        """Ends the run if weights are not finite.

        Raises:
            UserError: if they are not.
        """
        if found := bad_numbers.in_weights(self._module, self._number):
            raise self._stopped(found)

    def _stopped(self, finding: Finding) -> UserError:
        folder = directory.of_trainer(self._module.trainer)
        return bad_numbers.error_of(finding, self._module.current_epoch + 1, folder)
