"""Films and pictures as files, which appear complete or not at all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.videos.pictures import Picture


def check_encoder() -> None:
    """Refuses a machine that cannot write films, before anything is drawn for one.

    Raises:
        UserError: if there is no ffmpeg.
    """
    try:
        importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise UserError("No mp4 can be written here: `pip install imageio-ffmpeg` brings the ffmpeg for it.") from error


@contextmanager
def writing_mp4(path: Path, fps: int) -> Iterator[Callable[[Picture], None]]:
    """Yields a function that adds a picture; all have the size of the first, in even numbers of pixels.

    Args:
        path: of the film.
        fps: pictures per second.

    Raises:
        UserError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        film = _Film(temporary, fps)
        try:
            yield film.add
        finally:
            film.close()


class _Film:
    """An ffmpeg that is fed pictures."""

    def __init__(self, path: Path, fps: int) -> None:
        self._path, self._fps = path, fps
        self._size: tuple[int, int] | None = None

    def add(self, picture: Picture) -> None:
        height, width, _ = picture.shape
        if self._size is None:
            self._size = width, height
            self._encoder = importlib.import_module("imageio_ffmpeg").write_frames(
                str(self._path),
                self._size,
                fps=self._fps,
                codec="libx264",
                quality=None,  # else of its own kind, instead of the codec's constant one
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-crf", "20", "-f", "mp4", "-movflags", "+faststart"],  # whatever the file is called
            )
            self._encoder.send(None)
        self._encoder.send(np.ascontiguousarray(picture))

    def close(self) -> None:
        if self._size is not None:
            self._encoder.close()


def write_png(path: Path, picture: Picture) -> None:
    """Writes one picture.

    Raises:
        UserError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="png", optimize=True)
