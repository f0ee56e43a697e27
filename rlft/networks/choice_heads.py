"""Predicting several choices from the features of one actor."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from rlft.networks.categorical_actor import CategoricalActor
from rlft.networks.distributions import Categorical
from rlft.networks.future_heads import Dropout, no_dropout, through_head
from rlft.networks.quantile_actor import QuantileActor
from rlft.types import Obs

ChoosingActor = CategoricalActor | QuantileActor


class ChoiceHeads(nn.ModuleDict):
    """The heads beside an actor's own, by offset, as `FutureHeads` are those of a Gaussian; each begins as its copy.

    Logits are advantages: what all choices have in common, as V of a `QuantileActor`, changes no probability. Of its
    quantiles they are the mean, by which it decides.

    Args:
        actor: whose features they take; no part of this module.
        offsets: the `K` choices to predict, in env steps from now; that at 0 is predicted by the actor's own head.
    """

    def __init__(self, actor: ChoosingActor, offsets: Sequence[int]) -> None:
        super().__init__({str(offset): copy.deepcopy(actor.advantage) for offset in offsets if offset != 0})
        self.offsets = tuple(offsets)

    def predict(
        self,
        actor: ChoosingActor,
        obs: Obs,
        encoder_dropout: float = 0.0,
        head_dropout: float = 0.0,
        dropout: Dropout = no_dropout,
    ) -> Categorical:
        """Of the choices `[B, K]`; without dropout, at 0 exactly the actor's.

        Args:
            actor: the one this was built for.
            obs: observations `[B]`.
            encoder_dropout: share of the encoder's features that is dropped.
            head_dropout: share of what the layers of a head pass on to each other.
            dropout: how.
        """
        features = dropout(actor.features(obs), encoder_dropout)  # [B, n, F]
        logits = []
        for offset in self.offsets:
            head = actor.advantage if offset == 0 else cast(nn.Sequential, self[str(offset)])
            logits.append(through_head(head, features, head_dropout, dropout).mean(-2))
        return Categorical(F.log_softmax(torch.stack(logits, 1), -1))
