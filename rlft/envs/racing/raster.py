"""A picture of the track, from which the window around the car is read: in place of drawing 700 polygons a frame.

Lengths are units of the simulator's world, angles radians. Pictures are grey, and stretched to squares like the stock
environment's: see `rlft.envs.racing.picture`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn.functional import grid_sample

SIDE = 64  # pixels of a picture, both ways
WINDOW_W, WINDOW_H = 1000, 800  # of the stock environment: its zooms are pixels of this window per unit
CAR_X, CAR_Y = SIDE / 2, SIDE * 3 / 4  # where the car is in a picture
# From the car to the centres of pixels, in pixels: of every column, and of every row.
RIGHT = np.arange(SIDE, dtype=np.float32) + np.float32(0.5 - CAR_X)  # [SIDE]
UP = np.float32(CAR_Y - 0.5) - np.arange(SIDE, dtype=np.float32)[:, None]  # [SIDE, 1]
FIELD, PATCH = 1000 / 3, 50 / 3  # half the side of the playfield, the side of a patch of grass
DRAWN, KEPT = 3.0, 1.5  # pixels per unit that polygons are drawn with, and that are left after averaging
HALF = 512 / KEPT  # half the side of the raster, which can be divided by two many times over
LOST = 2  # grey levels, by the stock environment's averaging of pixels
COARSER = 2.2  # pixels of a raster per pixel of a picture, from which on a raster of half the size is read

Point = tuple[float, float]


def grey(colour: Sequence[float]) -> int:
    """The level of red, green and blue in a picture: ITU-R 601, less what is lost."""
    return max(0, round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) - LOST)


GRASS, PATCHES = grey((102, 204, 102)), grey((102, 230, 102))


class Raster:
    """A track that can be looked at from everywhere.

    Args:
        polygons: corners and grey levels of its tiles and kerbs.
    """

    def __init__(self, polygons: Iterable[tuple[Sequence[Point], int]]) -> None:
        picture = _field().copy()
        draw = ImageDraw.Draw(picture)
        for corners, level in polygons:
            draw.polygon([_drawn(corner) for corner in corners], fill=level)
        self._levels = [np.array(picture.reduce(round(DRAWN / KEPT)))]

    def window(self, car: Point, heading: float, zoom: float) -> NDArray[np.float32]:
        """Grey levels `[SIDE, SIDE]` around a car that looks up; black beyond the playfield.

        Args:
            car: where it is.
            heading: its angle.
            zoom: pixels of the stock window per unit.
        """
        width, height = WINDOW_W / SIDE / zoom, WINDOW_H / SIDE / zoom  # units of a pixel
        level = max(0, math.floor(math.log2(width * KEPT / COARSER)) + 1)
        scale = KEPT / 2**level  # pixels of the raster per unit
        reach = math.hypot(width * CAR_X, height * CAR_Y) * scale + 2
        x, y = ((place + HALF) * scale for place in car)
        left, bottom = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        seen = self._level(level)[bottom : math.ceil(y + reach), left : math.ceil(x + reach)].astype(np.float32)
        across, along = 2 / seen.shape[1], 2 / seen.shape[0]  # `grid_sample` counts from -1 to 1
        cos, sin = math.cos(heading) * scale, math.sin(heading) * scale
        grid = np.empty((SIDE, SIDE, 2), np.float32)  # filled one by one: broadcasting over pairs is slow
        np.add(RIGHT * (cos * width * across) + ((x - left) * across - 1), UP * (-sin * height * across), grid[..., 0])
        np.add(RIGHT * (sin * width * along) + ((y - bottom) * along - 1), UP * (cos * height * along), grid[..., 1])
        read = grid_sample(torch.from_numpy(seen)[None, None], torch.from_numpy(grid)[None], align_corners=False)
        window: NDArray[np.float32] = read.numpy()[0, 0]
        return window

    def _level(self, level: int) -> NDArray[np.uint8]:
        """The raster with sides divided by `2^level`: the stock environment begins episodes far above the car."""
        while len(self._levels) <= level:
            self._levels.append(np.array(Image.fromarray(self._levels[-1]).reduce(2)))
        return self._levels[level]


@lru_cache(maxsize=1)
def _field() -> Image.Image:
    """The playfield without a track."""
    side = round(2 * HALF * DRAWN)
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)
    _square(draw, -FIELD, -FIELD, 2 * FIELD, GRASS)
    for x in range(-20, 20, 2):
        for y in range(-20, 20, 2):
            _square(draw, PATCH * x, PATCH * y, PATCH, PATCHES)
    return picture


def _square(draw: ImageDraw.ImageDraw, x: float, y: float, side: float, level: int) -> None:
    (left, low), (right, high) = _drawn((x, y)), _drawn((x + side, y + side))
    draw.rectangle((left, low, right - 1, high - 1), fill=level)


def _drawn(point: Point) -> Point:
    """Where a point of the world is in a picture that polygons are drawn in."""
    return (point[0] + HALF) * DRAWN, (point[1] + HALF) * DRAWN
