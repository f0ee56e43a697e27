"""What is told of the steps of an episode, as numbers of the episode."""

from __future__ import annotations

import torch
from torch import Tensor

from rlft.types import EnvSpec


class SummingUp:
    """The measures of `M` episodes that are played side by side, each up to its end.

    Args:
        spec: of the environments, with the measures.
        count: episodes.
    """

    def __init__(self, spec: EnvSpec, count: int) -> None:
        measures = spec.behaviour.measures
        self._columns = [spec.info.index(measure.entry) for measure in measures]
        self._over = [measure.over for measure in measures]
        self._sum, self._last = torch.zeros(2, count, len(measures))  # [M, B] each
        self._min, self._max = torch.full_like(self._sum, torch.inf), torch.full_like(self._sum, -torch.inf)

    def add(self, info: Tensor, running: Tensor) -> None:
        """Takes a step, `info [M, I]`, of the episodes that had not ended before it, `running [M]` bool."""
        if not self._columns:
            return
        found, runs = info[:, self._columns], running[:, None]  # [M, B], [M, 1]
        self._sum += torch.where(runs, found, 0.0)
        self._min = torch.where(runs, self._min.minimum(found), self._min)
        self._max = torch.where(runs, self._max.maximum(found), self._max)
        self._last = torch.where(runs, found, self._last)

    def result(self, length: Tensor) -> Tensor:
        """The measures `[M, B]` of episodes of `length [M]` env steps."""
        found = {"mean": self._sum / length[:, None], "min": self._min, "max": self._max, "last": self._last}
        columns = [found[over][:, i] for i, over in enumerate(self._over)]
        return torch.stack(columns, 1) if columns else self._sum
