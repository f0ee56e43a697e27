"""Keeping the states that a rollout goes through."""

import torch
from torch import Tensor

from rlft.types import EnvStates, Visited


class Recorder:
    """Every state of a rollout, as it goes by."""

    def __init__(self, states: EnvStates) -> None:
        self.parts = [states]
        self.count = len(states)
        self.current = torch.arange(self.count)  # [N], which state each environment is in
        self.before: list[Tensor] = []
        self.after: list[Tensor] = []

    def _append(self, states: EnvStates) -> Tensor:
        self.parts.append(states)
        self.count += len(states)
        return torch.arange(self.count - len(states), self.count)

    def stepped(self, states: EnvStates) -> None:
        """All environments have made a step, to `states`; none has been reset yet."""
        self.before.append(self.current)
        self.current = self._append(states)
        self.after.append(self.current)

    def reset(self, rows: list[int], states: EnvStates) -> None:
        """Environments `rows` have begun new episodes in `states`."""
        self.current = self.current.clone()
        self.current[rows] = self._append(states)

    def result(self) -> Visited:
        """Everything so far."""
        before, after = torch.stack(self.before), torch.stack(self.after)
        return Visited(states=EnvStates.cat(self.parts), before=before, after=after)
