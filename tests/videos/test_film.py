"""Films of PointReach, which a renderer in numpy draws."""

import numpy as np
import pytest
import torch
from PIL import Image

from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.rollout import LocalRollouts
from rlft.videos.file_names import label, stem
from rlft.videos.film import HOLD, Take, caption, columns, frames, make_film
from tests.support.drawing import POINT, PointRenderer, pictures_of
from tests.support.hand_made import ConstantActor

ENV = PointReach(horizon=6)
SIZE = 64


@pytest.fixture(scope="module")
def takes():
    rollouts = LocalRollouts(ENV, 2)
    return [
        Take(name, rollouts.record(ConstantActor(action), [3, 5], seed=1, deterministic=True))
        for name, action in (("right", [1.0, 0.0]), ("down", [0.0, 1.0]))
    ]


def test_a_film_shows_every_state_of_every_episode_in_order(takes, tmp_path):
    drawn, renderer = [], PointRenderer(SIZE)
    film = make_film(renderer, takes[:1], tmp_path / "one", lambda: drawn.append(1))
    assert len(drawn) == 2 * 7 == frames(takes[:1])
    shown = pictures_of(film.video)
    assert len(shown) == 2 * (6 + HOLD)  # of 7 states the last stands still
    height = shown.shape[1] - SIZE
    states = takes[0].episodes.states
    for place, picture in ((0, shown[0]), (6, shown[6]), (6, shown[6 + HOLD - 1])):
        position = states.physics[0, place].view(torch.float32)[:2]
        marked = picture[height:][renderer.pixel(position)]
        assert marked.mean((0, 1)) == pytest.approx(POINT, abs=40)  # of an encoder that halves the colours' resolution
    assert len(renderer.aimed) == 1
    assert len(renderer.aimed[0]) == 14  # at everything that will be seen


def test_what_stands_still_to_the_end_is_not_drawn(takes, tmp_path):
    rollouts = LocalRollouts(ENV, 2)
    still = Take("still", rollouts.record(ConstantActor([0.0, 0.0]), [3, 5], seed=1, deterministic=True))
    film = make_film(PointRenderer(SIZE), [still], tmp_path / "still", lambda: None)
    assert frames([still]) == 2 * 2  # the start, and one state after it
    assert len(pictures_of(film.video)) == 2 * (1 + HOLD)
    assert frames([still, takes[0]]) == 4 * 7  # beside one that moves


def test_a_contact_sheet_has_a_row_for_each_episode_of_each_policy(takes, tmp_path):
    film = make_film(PointRenderer(SIZE), takes, tmp_path / "both", lambda: None)
    sheet = np.asarray(Image.open(film.sheet))
    np.testing.assert_array_equal(sheet, film.contact_sheet)
    shown = pictures_of(film.video)
    assert shown.shape[2] == 2 * SIZE + 4  # side by side
    height = shown.shape[1]
    assert sheet.shape == (4 * height + 3 * 4, len(columns(6)) * (SIZE + 4) - 4, 3)
    first_row, second_row = sheet[:height], sheet[height + 4 : 2 * height + 4]
    both = np.concatenate([first_row[:, :SIZE], np.full((height, 4, 3), 26), second_row[:, :SIZE]], 1)
    assert abs(both.astype(int) - shown[0]).mean() < 8  # the beginning of the film is the beginning of both rows


def test_a_film_that_cannot_be_drawn_leaves_nothing(takes, tmp_path):
    class Broken(PointRenderer):
        def frames(self, states):
            if int(states.elapsed) == 4:
                raise UserError("The process that draws ended.")
            return super().frames(states)

    with pytest.raises(UserError, match="ended"):
        make_film(Broken(SIZE), takes, tmp_path / "none", lambda: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("step", "text", "good"),
    [
        (0, "episode 7  step 0/4", False),
        (2, "episode 7  step 2/4", False),
        (3, "episode 7  step 3/4  success at 3", True),
        (4, "episode 7  step 4/4  success at 3", True),
    ],
)
def test_captions_say_when_it_succeeded(step, text, good):
    assert caption(7, step, torch.tensor([False, False, True, False])) == (text, good)


def test_captions_say_at_the_end_that_it_failed():
    assert caption(7, 4, torch.zeros(4, dtype=torch.bool)) == ("episode 7  step 4/4  failed", False)


def test_columns_of_a_contact_sheet():
    assert columns(50) == [0, 12, 25, 38, 50]
    assert columns(2) == [0, 1, 2]


def test_names(tmp_path):
    best = tmp_path / "gae_ppo-1a2b-seed1/version_0/policies/best.safetensors"
    own = tmp_path / "mine/policy.pt"
    for path in (best, own):
        path.parent.mkdir(parents=True)
        path.touch()
    assert label("pickcube/weak-gamma0.95") == "pickcube/weak-gamma0.95"
    assert label(str(best)) == "gae_ppo-1a2b-seed1/version_0/best"
    assert label(str(own)) == "mine/policy"
    assert stem(["pickcube/weak"], "first", deterministic=True) == "pickcube-weak"
    assert stem(["pickcube/weak", "pickcube/expert"], "failed", deterministic=False) == (
        "pickcube-weak-beside-pickcube-expert-failed-sampled"
    )
    assert stem([str(best)], (3, 17), deterministic=True) == "gae_ppo-1a2b-seed1-version_0-best-3-17"
