import numpy as np
import pytest
from PIL import Image

from rlft.errors import UserError
from rlft.videos.files import write_png, writing_mp4
from tests.support.drawing import pictures_of

COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]


def film(path, colours=COLOURS):
    with writing_mp4(path, fps=20) as add:
        for colour in colours:
            add(np.full((48, 66, 3), colour, dtype=np.uint8))


def test_a_film_holds_its_pictures_in_their_order(tmp_path):
    path = tmp_path / "new folder" / "film.mp4"
    film(path)
    shown = pictures_of(path)
    assert shown.shape == (3, 48, 66, 3)
    assert abs(shown.astype(int) - np.array(COLOURS)[:, None, None]).max() < 16  # what compression leaves of them
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


def test_what_is_interrupted_leaves_the_earlier_film_and_nothing_else(tmp_path):
    path = tmp_path / "film.mp4"
    film(path)
    before = path.read_bytes()

    def interrupted():
        with writing_mp4(path, fps=20) as add:
            for _ in range(30):
                add(np.zeros((48, 66, 3), dtype=np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "videos").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        film(tmp_path / "videos" / "film.mp4")


def test_a_picture_comes_back(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    write_png(tmp_path / "sheet.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), picture)
    assert list(tmp_path.iterdir()) == [tmp_path / "sheet.png"]
