import numpy as np
import pytest

from rlft.videos.pictures import BACKGROUND, GAP, captioned, contact_sheet, side_by_side


def picture(value, height=20, width=64):
    return np.full((height, width, 3), value, dtype=np.uint8)


@pytest.mark.parametrize("size", [64, 100, 256])
def test_a_caption_stands_above_the_picture_and_leaves_it_alone(size):
    shown = picture(200, size, size)
    whole = captioned(shown, "pickcube/weak", "episode 3  step 17/50", good=False)
    height = len(whole) - size
    assert height > 0
    assert len(whole) % 2 == 0
    np.testing.assert_array_equal(whole[height:], shown)
    upper, lower = whole[: height // 2], whole[height // 2 : height]
    for line in (upper, lower):
        assert (line != BACKGROUND).any(2).mean() > 0.02  # there are letters


def test_success_has_another_colour():
    def lower(good):
        whole = captioned(picture(0, 256, 256), "", "success at 9", good=good)
        return whole[: len(whole) - 256]

    grey, green = (
        lower(good)[np.unravel_index(lower(good)[..., 1].argmax(), lower(good).shape[:2])] for good in (0, 1)
    )
    assert grey[0] == grey[1] == grey[2]
    assert green[1] > green[0] + 50


def test_a_long_name_loses_its_beginning():
    shown = picture(0, 256, 256)
    one, other = (captioned(shown, f"{begin}{'n' * 100}/best", "", good=False) for begin in ("some_run", "another"))
    np.testing.assert_array_equal(one, other)
    assert (one != captioned(shown, f"some_run{'n' * 100}/last", "", good=False)).any()


def test_pictures_in_rows_and_columns():
    sheet = contact_sheet([[picture(1), picture(2), picture(3)], [picture(4), picture(5), picture(6)]])
    assert sheet.shape == (2 * 20 + GAP, 3 * 64 + 2 * GAP, 3)
    for i in range(6):
        top, left = (i // 3) * (20 + GAP), (i % 3) * (64 + GAP)
        assert (sheet[top : top + 20, left : left + 64] == i + 1).all()
    assert (sheet[20 : 20 + GAP] == BACKGROUND).all()
    np.testing.assert_array_equal(side_by_side([picture(1), picture(2)]), contact_sheet([[picture(1), picture(2)]]))
