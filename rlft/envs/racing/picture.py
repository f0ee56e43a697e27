"""What the agent sees: the track around the car, the car, and the stock environment's dashboard without its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rlft.envs.racing.raster import CAR_X, CAR_Y, SIDE, WINDOW_H, WINDOW_W, Point, Raster, grey

DASHBOARD = SIDE * 7 // 8  # row that it begins in
FINER = 8  # pixels that a pixel of the car is averaged over, both ways
BARS = [  # place in 40ths of the picture's side, grey level
    (5, grey((255, 255, 255))),  # speed
    *((place, grey((0, 0, 255))) for place in (7, 8)),  # front wheels
    *((place, grey((51, 0, 255))) for place in (9, 10)),  # rear wheels
]
DIALS = [(20, grey((0, 255, 0))), (30, grey((255, 0, 0)))]  # steering, yaw rate
UNIT = SIDE / 40
STARTS = np.array([place for place, _ in (*BARS, *DIALS)], np.float32) * UNIT  # columns, [7]
LEVELS = np.array([level for _, level in (*BARS, *DIALS)], np.float32)  # [7]
BASE = np.full(len(BARS), 39 * UNIT - DASHBOARD, np.float32)  # rows of the dashboard that bars stand on, [5]

Part = tuple[tuple[Point, ...], int]  # corners in units from the car's centre, grey level


@dataclass(frozen=True)
class Sprite:
    """A car in a picture, as far as its pixels are covered."""

    rows: slice
    columns: slice
    left: NDArray[np.float32]  # share of the track that is still seen
    added: NDArray[np.float32]  # grey levels


@lru_cache(maxsize=64)  # zooms of the first second, and the one of all others
def sprite(car: tuple[Part, ...], zoom: float) -> Sprite:
    """The car as it looks from a height; its wheels do not turn."""
    covered, level = (Image.new("L", (SIDE * FINER, SIDE * FINER)) for _ in range(2))
    wide, high = zoom * SIDE * FINER / WINDOW_W, zoom * SIDE * FINER / WINDOW_H
    for corners, shade in car:
        place = [(CAR_X * FINER + x * wide, CAR_Y * FINER - y * high) for x, y in corners]
        ImageDraw.Draw(covered).polygon(place, fill=255)
        ImageDraw.Draw(level).polygon(place, fill=shade)
    left, top, right, bottom = covered.reduce(FINER).getbbox() or (0, 0, 1, 1)
    rows, columns = slice(top, bottom), slice(left, right)
    share, added = (np.asarray(of.reduce(FINER), np.float32)[rows, columns] for of in (covered, level))
    return Sprite(rows, columns, 1 - share / np.float32(255), added)


def draw(
    raster: Raster, car: tuple[Part, ...], place: Point, heading: float, zoom: float, bars: Sequence[float]
) -> NDArray[np.uint8]:
    """The picture `[SIDE, SIDE]`.

    Args:
        raster: the track.
        car: its parts.
        place: where the car is.
        heading: its angle.
        zoom: see `Raster.window`.
        bars: lengths of `BARS` and `DIALS` in 40ths of the side.
    """
    picture = raster.window(place, heading, zoom)
    of = sprite(car, zoom)
    picture[of.rows, of.columns] = picture[of.rows, of.columns] * of.left + of.added
    picture[DASHBOARD:] = dashboard(bars)
    return (picture + 0.5).astype(np.uint8)


def dashboard(bars: Sequence[float]) -> NDArray[np.float32]:
    """Its rows `[SIDE - DASHBOARD, SIDE]`; bars that are higher are cut off."""
    length = np.array(bars, np.float32) * UNIT
    rows, columns = _DIAL_ROWS.copy(), _BAR_COLUMNS.copy()
    rows[: len(BARS)] = _covered(BASE - length[: len(BARS)], BASE, SIDE - DASHBOARD)
    dials = slice(len(BARS), None)
    columns[dials] = _covered(STARTS[dials], STARTS[dials] + length[dials], SIDE) * LEVELS[dials, None]
    levels: NDArray[np.float32] = rows.T @ columns
    return levels


def _covered(one: NDArray[np.float32], other: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """How much of each of a row of pixels lies between two places `[B]`, whichever comes first: `[B, pixels]`."""
    low, high = np.minimum(one, other)[:, None], np.maximum(one, other)[:, None]
    edges = np.arange(pixels, dtype=np.float32)
    share: NDArray[np.float32] = np.maximum(np.minimum(high, edges + 1) - np.maximum(low, edges), 0)
    return share


# Of a bar the columns never change, of a dial the rows.
_BAR_COLUMNS = _covered(STARTS, STARTS + UNIT, SIDE) * LEVELS[:, None]
_DIAL_TOP, _DIAL_BOTTOM = (np.full(len(STARTS), row * UNIT - DASHBOARD, np.float32) for row in (36, 38))
_DIAL_ROWS = _covered(_DIAL_TOP, _DIAL_BOTTOM, SIDE - DASHBOARD)
