"""Predicting several actions from the features of one actor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from rlft.networks.actors import GaussianActor, clamp_log_std
from rlft.networks.encoded_actor import EncodedActor
from rlft.types import Obs

MeanActor = GaussianActor | EncodedActor  # an `action_head` makes the mean of its features
Dropout = Callable[[Tensor, float], Tensor]  # zeros a share of hidden numbers


def no_dropout(hidden: Tensor, share: float) -> Tensor:
    """What a network does when it is not being trained."""
    return hidden


def through_head(head: Iterable[nn.Module], features: Tensor, share: float, dropout: Dropout) -> Tensor:
    """What a head makes of features `[..., F]` where a share of what its last layer gets from the others is dropped."""
    *hidden_layers, output = head
    hidden = features
    for layer in hidden_layers:
        hidden = layer(hidden)
    result: Tensor = output(dropout(hidden, share) if hidden_layers else hidden)
    return result


class FutureHead(nn.Module):
    """A Gaussian over the action some steps later or earlier, on the features of an actor's encoder.

    It has the shape of the actor's own head, begins as its copy, and has its own standard deviation: what lies further
    ahead is less certain, and must not make the actor's actions noisier.
    """

    def __init__(self, actor: MeanActor) -> None:
        super().__init__()
        self.action_head = copy.deepcopy(actor.action_head)
        self.log_std = copy.deepcopy(actor.log_std)  # [A]

    def clamp_exploration(self, low: float | None, high: float | None) -> None:
        """Puts the log standard deviation back within its bounds, as those of actors."""
        clamp_log_std(self.log_std, low, high)


class FutureHeads(nn.ModuleDict):
    """The heads beside an actor's own, by offset; an actor without them acts as it did.

    Args:
        actor: whose features they take; no part of this module.
        offsets: the `K` actions to predict, in env steps from now; that at 0 is predicted by the actor's own head.
    """

    def __init__(self, actor: MeanActor, offsets: Sequence[int]) -> None:
        super().__init__({str(offset): FutureHead(actor) for offset in offsets if offset != 0})
        self.offsets = tuple(offsets)

    def all(self, actor: MeanActor) -> list[MeanActor | FutureHead]:
        """Whatever has a head and a log standard deviation, in the order of the offsets."""
        return [actor if offset == 0 else cast(FutureHead, self[str(offset)]) for offset in self.offsets]

    def predict(
        self,
        actor: MeanActor,
        obs: Obs,
        encoder_dropout: float = 0.0,
        head_dropout: float = 0.0,
        dropout: Dropout = no_dropout,
    ) -> tuple[Tensor, Tensor]:
        """Mean actions `[B, K, A]` and log standard deviations `[K, A]`; without dropout, at 0 exactly the actor's.

        Args:
            actor: the one this was built for.
            obs: observations `[B]`.
            encoder_dropout: share of the encoder's features that is dropped.
            head_dropout: share of what the layers of a head pass on to each other.
            dropout: how.
        """
        features = dropout(actor.features(obs), encoder_dropout)  # [B, hidden]
        heads = self.all(actor)
        means = []
        for head in heads:
            means.append(through_head(head.action_head, features, head_dropout, dropout))
        return torch.stack(means, 1), torch.stack([head.log_std for head in heads])
