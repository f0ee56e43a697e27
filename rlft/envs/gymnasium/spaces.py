"""Observations and actions of Gymnasium as those of rlft."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from rlft.errors import UserError

NO_IMAGE: NDArray[np.uint8] = np.zeros(0, np.uint8)


class Observations:
    """A box: pictures of uint8 become the image, everything else the state, flat.

    Args:
        task: whose they are.
        space: that they are in.

    Raises:
        UserError: if it is no box.
    """

    def __init__(self, task: str, space: gymnasium.Space[Any]) -> None:
        if not isinstance(space, Box):
            raise UserError(
                f"{task} observes a {type(space).__name__}, and rlft a Box; one of gymnasium's wrappers, such as "
                "FlattenObservation, may make one of it."
            )
        self._order = _order(space)
        self.image = tuple(np.transpose(np.empty(space.shape), self._order).shape) if self._order else None
        self.obs_dim = 0 if self._order else int(np.prod(space.shape))

    def split(self, obs: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """State `[O]` and image `[C, H, W]`, of which one is empty."""
        if self._order is None:
            return np.asarray(obs, np.float32).reshape(-1), NO_IMAGE
        return np.zeros(0, np.float32), np.ascontiguousarray(np.transpose(obs, self._order))


def _order(space: Box) -> tuple[int, int, int] | None:
    """The axes of a picture as channels, height, width; `None` if it is none."""
    if space.dtype != np.uint8 or len(space.shape) != 3:
        return None
    first, _, last = space.shape
    return (0, 1, 2) if first < last else (2, 0, 1)  # colours or stacked frames are fewer than pixels


class ActionSpace:
    """Choices, or vectors within bounds.

    Args:
        task: whose they are.
        space: that they are in.

    Raises:
        UserError: if it is something else.
    """

    def __init__(self, task: str, space: gymnasium.Space[Any]) -> None:
        if isinstance(space, Box) and not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise UserError(f"Actions of {task} have no bounds; gymnasium's wrapper RescaleAction gives them some.")
        if not isinstance(space, Box | Discrete):
            raise UserError(f"{task} acts by a {type(space).__name__}; rlft by a Box or a Discrete.")
        self._space = space
        self.choices = int(space.n) if isinstance(space, Discrete) else None

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest actions `[A]`."""
        if isinstance(self._space, Discrete):
            return torch.tensor([0]), torch.tensor([int(self._space.n) - 1])
        low, high = (
            torch.from_numpy(np.array(of, np.float32).reshape(-1)) for of in (self._space.low, self._space.high)
        )
        return low, high

    def native(self, action: NDArray[np.generic]) -> Any:
        """What the environment takes for an action `[A]`."""
        if isinstance(self._space, Discrete):
            return int(action[0]) + int(self._space.start)
        return action.astype(self._space.dtype).reshape(self._space.shape)
