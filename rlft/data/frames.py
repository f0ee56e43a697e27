"""Pictures of a series of steps, each once: the next picture of a step is nearly always that of the following step."""

from __future__ import annotations

import torch
from torch import Tensor

from rlft.errors import UserError


def differing(image: Tensor, next_image: Tensor) -> Tensor:
    """Which steps have a next picture that the following step does not have, `[T, N]` bool; the last ones all do.

    Args:
        image: of `T` steps of `N` environments, `[T, N, C, H, W]`.
        next_image: after each, likewise.
    """
    apart = torch.ones(image.shape[:2], dtype=torch.bool)
    apart[:-1] = (next_image[:-1] != image[1:]).flatten(2).any(-1)
    return apart


class Frames:
    """The pictures of the last steps of `N` environments.

    They take `rows * N` pictures, and one more for every step whose successor is not the next step's: episodes that
    ended, and the last step. The system gives the memory as it is written to.

    Args:
        rows: steps of each environment that are kept.
        like: pictures of any steps, `[T, N, C, H, W]`.

    Raises:
        UserError: if the system has no room for so many.
    """

    def __init__(self, rows: int, like: Tensor) -> None:
        self._rows, self.end = rows, 0  # steps so far, of each environment
        size = rows * like[0].numel()
        try:
            self._image = like.new_empty(rows, *like.shape[1:])
        except RuntimeError as error:
            raise UserError(
                f"data.capacity asks for {size / 1e9:.1f} GB of pictures, which there is no memory for; lower it."
            ) from error
        self._apart = torch.zeros(rows, like.shape[1], dtype=torch.bool)  # successors that are in `_after`
        self._after: dict[tuple[int, int], Tensor] = {}  # by place and environment

    def add(self, image: Tensor, next_image: Tensor) -> None:
        """Adds the next `[T, N, C, H, W]` pictures, and those after each of them."""
        self._settle_last(image[0])
        apart, first = differing(image, next_image), max(0, len(image) - self._rows)
        for t in range(first, len(image)):
            place = (self.end + t) % self._rows
            for env in self._apart[place].nonzero().flatten().tolist():
                del self._after[place, env]
            self._image[place], self._apart[place] = image[t], apart[t]
            for env in apart[t].nonzero().flatten().tolist():
                self._after[place, env] = next_image[t, env].clone()
        self.end += len(image)

    def _settle_last(self, following: Tensor) -> None:
        """Drops what was kept after the last step, where it is what follows `[N, C, H, W]`."""
        if not self.end:
            return
        place = (self.end - 1) % self._rows
        for env in range(len(following)):
            if torch.equal(self._after[place, env], following[env]):
                del self._after[place, env]
                self._apart[place, env] = False

    @property
    def apart(self) -> int:
        """How many pictures are kept beside those of the steps."""
        return len(self._after)

    def at(self, step: Tensor, env: Tensor) -> Tensor:
        """Pictures `[M, C, H, W]` of steps `[M]`, counted from the first one ever added, of environments `env [M]`."""
        return self._image[step % self._rows, env]

    def after(self, step: Tensor, env: Tensor) -> Tensor:
        """The same of their successors."""
        place = step % self._rows
        found = self._image[(place + 1) % self._rows, env]
        for i in self._apart[place, env].nonzero().flatten().tolist():
            found[i] = self._after[int(place[i]), int(env[i])]
        return found
