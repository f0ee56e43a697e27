"""Networks that several learners ask together: each asks its own for a part of the rows, and all get all answers.

So every learner has the loss of the whole minibatch, whatever that makes of its rows together (advantages normalised
within it, weights rescaled, a KL that ends the iteration), while the networks work on a part of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from rlft.learners import joined, place
from rlft.types import Actor, Critic

Network = TypeVar("Network", Actor, Critic)
BY_ROWS = ("log_prob", "imitation", "entropy"), ("forward",)  # of an actor and a critic: answer rows `[B]` one by one


def shared(network: Network) -> Network:
    """The same network, with the same weights, whose rows are split over the learners.

    What a kind of network defines beyond `Actor` and `Critic`, each learner computes for all rows.
    """
    if place().count == 1:
        return network
    other = copy.copy(network)
    for name in BY_ROWS[not isinstance(network, Actor)]:
        object.__setattr__(other, name, partial(_split, getattr(network, name)))
    return other


def _split(method: Callable[..., Tensor], *rows: Any) -> Tensor:
    """What a method answers for all rows, `[B]`, of which it is asked for this learner's share."""
    total = len(rows[0])
    mine = place().share(total)
    own = method(*(one[mine.start : mine.stop] for one in rows))
    return joined(own, total) if own.ndim else own  # an entropy may be the same everywhere
