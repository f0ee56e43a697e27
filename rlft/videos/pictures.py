"""Putting pictures together: captions, panels side by side, contact sheets. All are `[H, W, 3]` uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

BACKGROUND, TEXT, GOOD = (24, 24, 28), (235, 235, 235), (110, 220, 120)
GAP = 4  # pixels between pictures
LETTERS = 22  # of a font as large as the picture is wide, divided by this
SMALLEST = 9  # pixels of a letter that can still be read


def captioned(picture: Picture, policy: str, text: str, *, good: bool) -> Picture:
    """The picture below two lines: whose it is, and what it shows; in another colour where that is `good`."""
    width = picture.shape[1]
    letter = max(SMALLEST, width // LETTERS)
    font, height = ImageFont.load_default(letter), _even(2.8 * letter)
    strip = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    draw.text((GAP, 0), _fitting(policy, font, width - 2 * GAP), TEXT, font)
    draw.text((GAP, height // 2 - 1), _fitting(text, font, width - 2 * GAP), GOOD if good else TEXT, font)
    return np.concatenate([np.asarray(strip), picture])


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, without its beginning where there is no room for all of it."""
    if font.getlength(text) <= width:
        return text
    ends = (f"...{text[i:]}" for i in range(1, len(text) + 1))
    return next((end for end in ends if font.getlength(end) <= width), "")


def _even(size: float) -> int:
    """As video codecs want it."""
    return 2 * round(size / 2)


def side_by_side(pictures: Sequence[Picture]) -> Picture:
    """Panels of equal height in a row."""
    return _joined(pictures, axis=1)


def contact_sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Pictures of equal sizes in rows and columns."""
    return _joined([_joined(row, axis=1) for row in rows], axis=0)


def _joined(pictures: Sequence[Picture], axis: int) -> Picture:
    height, width, _ = pictures[0].shape
    gap = np.full((height, GAP, 3) if axis else (GAP, width, 3), BACKGROUND, dtype=np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis)
