"""Gymnasium's CarRacing, which draws only when it is asked to."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlft.envs.racing.picture import Part, draw
from rlft.envs.racing.raster import SIDE, Raster, grey

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, also where there is a display
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

from gymnasium.envs.box2d.car_dynamics import (
    HULL_POLY1,
    HULL_POLY2,
    HULL_POLY3,
    HULL_POLY4,
    SIZE,
    WHEEL_R,
    WHEEL_W,
    WHEELPOS,
)
from gymnasium.envs.box2d.car_racing import SCALE, ZOOM, CarRacing

WHEELS = [[(x + a * WHEEL_W, y + b * WHEEL_R) for a, b in ((-1, 1), (1, 1), (1, -1), (-1, -1))] for x, y in WHEELPOS]
PARTS: tuple[Part, ...] = tuple(
    (tuple((x * SIZE, y * SIZE) for x, y in corners), level)
    for shapes, level in ((WHEELS, 0), ((HULL_POLY1, HULL_POLY2, HULL_POLY3, HULL_POLY4), grey((204, 0, 0))))
    for corners in shapes
)


class Car(CarRacing):  # type: ignore[misc]  # Gymnasium's environments have no types
    """The stock environment with its own dynamics, tracks and rewards; actions are steer, gas and brake.

    A world of Box2D keeps more than its bodies, such as the order of contacts, so an object has one episode.

    Args:
        seed: of the track.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(continuous=True)
        self._raster: Raster | None = None
        self._size = SIDE, SIDE  # of the stock environment's next picture
        self.reset(seed=seed)
        self._polygons = [(corners, grey(colour)) for corners, colour in self.road_poly]  # tiles change when driven on
        self._middle = np.array([place for _, _, *place in self.track])  # of every tile, units

    def _render(self, mode: str) -> None:
        """Nothing: the stock environment would draw after every frame."""

    def _create_image_array(self, screen: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = super()._create_image_array(screen, self._size)
        return picture

    def stock_picture(self) -> NDArray[np.uint8]:
        """Drawn by the stock environment, grey, `[SIDE, SIDE]`."""
        self._size = SIDE, SIDE
        colours = np.ascontiguousarray(super()._render("state_pixels"))
        return np.array(Image.fromarray(colours).convert("L"))

    def shown(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """As the stock environment shows it to people, `[height, width, 3]`, of this width and height."""
        self._size = size
        return np.ascontiguousarray(super()._render("rgb_array"))

    def raster_picture(self) -> NDArray[np.uint8]:
        """The same from the raster of the track, which is made when it is first needed."""
        if self._raster is None:
            self._raster = Raster(self._polygons)
        hull = self.car.hull
        zoom = 0.1 * SCALE * max(1 - self.t, 0) + ZOOM * SCALE * min(self.t, 1)  # as the stock environment has it
        bars = [0.02 * self.speed, *(0.01 * wheel.omega for wheel in self.car.wheels)]
        dials = [-10 * self.car.wheels[0].joint.angle, -0.8 * hull.angularVelocity]
        return draw(self._raster, PARTS, tuple(hull.position), hull.angle, zoom, [*bars, *dials])

    @property
    def speed(self) -> float:
        """Units per second."""
        return float(self.car.hull.linearVelocity.length)

    @property
    def share(self) -> float:
        """Of the track's tiles, those that have been driven on."""
        return float(self.tile_visited_count / len(self.track))

    @property
    def off_road(self) -> bool:
        """Whether no wheel is on the road."""
        return not any(wheel.tiles for wheel in self.car.wheels)

    def ahead(self, count: int, apart: int) -> NDArray[np.float32]:
        """Points of the road's middle, every so many tiles from the nearest one on, to the right and ahead of the car.

        Returns:
            Units, `[count, 2]`.
        """
        from_car = self._middle - np.array(self.car.hull.position)  # [tiles, 2]
        nearest = int((from_car**2).sum(1).argmin())
        cos, sin = math.cos(self.car.hull.angle), math.sin(self.car.hull.angle)
        chosen = from_car[(nearest + apart * np.arange(1, count + 1)) % len(from_car)]
        points: NDArray[np.float32] = (chosen @ np.array([[cos, -sin], [sin, cos]])).astype(np.float32)
        return points
