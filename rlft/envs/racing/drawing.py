"""Pictures of races for people: what the stock environment shows, in colour."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlft.envs.racing.car import Car
from rlft.envs.racing.scene import Drive
from rlft.envs.replayed import HEADER, ReplayedBatch
from rlft.types import EnvStates, Obs

if TYPE_CHECKING:
    from rlft.envs.racing.factory import Racing

CARS = 8  # races that are followed at a time: a picture of another one drives there from the start


class RacingRenderer:
    """Draws states of a race with the stock environment's own code; implements `rlft.types.Renderer`.

    Args:
        config: of the race.
        size: width of the pictures, in pixels; they are four fifths as high.
    """

    device = "pygame"

    def __init__(self, config: Racing, size: int) -> None:
        self._size = size, 4 * size // 5 // 2 * 2  # a film's height is even
        self._rows: dict[int, int] = {}  # of the batch, by the seed of the race
        unseen = replace(config, image=False, floats=True)  # the agent's pictures are not needed
        self._batch = ReplayedBatch(unseen.spec(), lambda: Drive(unseen), CARS)

    def picture(self) -> NDArray[np.uint8]:
        """The start of some race."""
        return Car(0).shown(self._size)

    def aim(self, states: EnvStates) -> None:
        """Nothing: the camera follows the car."""

    def frames(self, states: EnvStates) -> NDArray[np.uint8]:
        """See `rlft.types.Renderer`; of the next state of an episode only what lies in between is driven."""
        return np.stack([self._frame(states[[i]]) for i in range(len(states))])

    def _frame(self, state: EnvStates) -> NDArray[np.uint8]:
        seed = int(state.physics[0, :HEADER].numpy().view(np.int64)[0])
        row = self._rows.setdefault(seed, len(self._rows) % CARS)
        self._batch.restore([row], replace(state, obs=Obs(state.obs.state)))
        drive = self._batch.scene(row)
        assert isinstance(drive, Drive)
        return drive.shown(self._size)
