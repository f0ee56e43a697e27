"""Drawing without a simulator, and whether the simulator can draw here."""

from functools import cache

import imageio_ffmpeg
import numpy as np
import torch

from rlft.envs.drawing import drawing_device
from rlft.envs.maniskill.drawing import NoDevice

POINT, GOAL = (255, 0, 0), (0, 255, 0)


@cache
def can_draw():
    """Whether the process that draws finds a device."""
    try:
        return bool(drawing_device())
    except NoDevice:
        return False


class PointRenderer:
    """Draws PointReach: a red point and a green goal on black; implements `rlft.types.Renderer`."""

    device = "numpy"

    def __init__(self, size=64):
        self.size = size
        self.aimed = []

    def aim(self, states):
        self.aimed.append(states)

    def frames(self, states):
        state = states.physics.contiguous().view(torch.float32)  # position, last move, goal
        pictures = np.zeros((len(states), self.size, self.size, 3), dtype=np.uint8)
        for picture, numbers in zip(pictures, state.numpy(), strict=True):
            for colour, place in ((GOAL, numbers[4:6]), (POINT, numbers[:2])):
                picture[self.pixel(place)] = colour
        return pictures

    def pixel(self, place):
        """Rows and columns of the square that marks a place of [-1, 1]^2."""
        x, y = (int((number + 1) / 2 * (self.size - 9)) for number in np.clip(place, -1, 1))
        return slice(y, y + 8), slice(x, x + 8)


def pictures_of(path):
    """All pictures of an mp4, `[T, H, W, 3]`."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])
