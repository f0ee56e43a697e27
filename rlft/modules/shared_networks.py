"""Networks that several learners ask together: each asks its own for a part of the rows, and all get all answers.

So every learner has the loss of the whole minibatch, whatever that makes of its rows together (advantages normalised
within it, weights rescaled, a KL that ends the iteration), while the networks work on a part of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from torch import Tensor

from rlft.learners import joined, place
from rlft.types import Actor, Critic

Network = TypeVar("Network", Actor, Critic)
BY_ROWS: dict[type[Any], tuple[str, ...]] = {  # methods of rows `[B]` that answer row by row
    Actor: ("log_prob", "imitation", "entropy"),
    Critic: ("forward",),
}


def shared(network: Network) -> Network:
    """The same network, with the same weights, whose rows are split over the learners.

    What a kind of network defines beyond `Actor` and `Critic`, each learner computes for all rows.
    """
    if place().count == 1:
        return network
    kind: Any = type(network)
    other = copy.copy(network)
    other.__class__ = _kind(kind)
    object.__setattr__(other, "_whole", network)  # no submodule
    return other


@cache
def _kind(kind: Any) -> Any:
    """A subclass that splits what `kind` defines; what it only inherits is made of these."""
    base = next(base for base in BY_ROWS if issubclass(kind, base))
    defined = [name for name in BY_ROWS[base] if getattr(kind, name) is not getattr(base, name)]
    return type(kind.__name__, (kind,), {name: _split(name) for name in defined})


def _split(name: str) -> Callable[..., Tensor]:
    def method(self: Any, *rows: Any) -> Tensor:
        total = len(rows[0])
        mine = place().share(total)
        own: Tensor = getattr(self._whole, name)(*(one[mine.start : mine.stop] for one in rows))
        return joined(own, total) if own.ndim else own  # an entropy may be the same everywhere

    return method
