"""A drive: what actions do, and what is seen and told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rlft.envs.replayed import Outcome

if TYPE_CHECKING:
    from rlft.envs.racing.car import Car
    from rlft.envs.racing.factory import Racing

Actions = Literal["discrete5", "discrete12", "continuous"]
Pedals = tuple[float, float, float]  # steering from -1, left, to 1; gas; brake
FPS = 50
TABLES: dict[str, list[Pedals]] = {
    "discrete5": [(0, 0, 0), (0.6, 0, 0), (-0.6, 0, 0), (0, 0.2, 0), (0, 0, 0.8)],
    "discrete12": [(steer, gas, brake) for steer in (0, -1, 1) for gas, brake in ((1, 0), (0, 0), (0, 0.8), (1, 0.8))],
}
LOW, HIGH = (-1.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # of continuous actions
INFO = ("tiles", "off_road", "lap_seconds")
NO_IMAGE: NDArray[np.uint8] = np.zeros(0, np.uint8)

# Floats of the car, in this order, and what they are divided by.
SPEED, WHEELS, STEERING, YAW_RATE = slice(0, 1), slice(1, 5), slice(5, 6), slice(6, 7)
PEDALS, TIME_LEFT, NUM_FLOATS = slice(7, 13), slice(13, 14), 14
SCALES = np.array([100, *[100] * 4, 0.4, 5], np.float32)  # units/s, rad/s, rad, rad/s
APART, FAR = 2, 50.0  # tiles from waypoint to waypoint, units that are 1


class Drive:
    """One car on one track after the other; implements `rlft.envs.replayed.Scene`."""

    def __init__(self, config: Racing) -> None:
        self.config = config
        self.car: Car | None = None
        self.frames = 0
        self.pedals: list[Sequence[float]] = []

    def reset(self, seed: int) -> None:
        """A new track, and a new world."""
        from rlft.envs.racing.car import Car

        self.car, self.frames, self.pedals = Car(seed), 0, [(0.0, 0.0, 0.0)] * 2

    def act(self, action: NDArray[np.generic]) -> Outcome:
        """Drives until the next decision, or the end of the episode."""
        table = TABLES.get(self.config.actions)
        pedals = action.tolist() if table is None else table[int(action[0])]
        self.pedals = [pedals, self.pedals[0]]
        reward, ended = 0.0, False
        for _ in range(self.config.frame_skip):
            _, paid, ended, _, info = self._car.step(np.array(pedals, np.float64))
            reward, self.frames = reward + float(paid), self.frames + 1
            if ended:
                break
        finished = ended and info["lap_finished"]
        told = (self._car.share, float(self._car.off_road), (self.frames if finished else self.config.max_frames) / FPS)
        return Outcome(reward, ended, finished, told)

    def look(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """What the configuration asks for."""
        state = self._floats() if self.config.floats else np.zeros(0, np.float32)
        if not self.config.image:
            return state, NO_IMAGE
        raster = self.config.view == "raster"
        return state, (self._car.raster_picture() if raster else self._car.stock_picture())[None]

    def shown(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The picture for people; see `Car.shown`."""
        return self._car.shown(size)

    def _floats(self) -> NDArray[np.float32]:
        hull, wheels = self._car.car.hull, self._car.car.wheels
        measured = [self._car.speed, *(wheel.omega for wheel in wheels), wheels[0].joint.angle, hull.angularVelocity]
        left = 1 - self.frames / self.config.max_frames
        floats = np.array([*measured, *self.pedals[0], *self.pedals[1], left], np.float32)
        floats[: len(SCALES)] /= SCALES
        if not self.config.waypoints:
            return floats
        return np.concatenate([floats, (self._car.ahead(self.config.waypoints, APART) / FAR).ravel()])

    @property
    def _car(self) -> Car:
        assert self.car is not None, "a scene is reset first"
        return self.car
