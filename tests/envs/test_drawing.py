"""The process that draws: what it refuses, and real pictures."""

import dataclasses

import numpy as np
import pytest
import torch

from rlft.envs import ManiSkill, PointReach, drawing
from rlft.envs.drawing import DrawingProcess
from rlft.envs.maniskill.drawing import NoDevice
from rlft.errors import UserError
from tests.support.hand_made import is_sentence


@pytest.fixture
def nothing_draws(monkeypatch):
    """As on a machine without GPU and without SwiftShader."""
    monkeypatch.setattr(drawing, "CHROMIUMS", ())
    for name in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"):
        monkeypatch.setenv(name, "/nowhere.json")


@pytest.mark.parametrize("env", [PointReach(), ManiSkill("PointReach")])
def test_what_has_no_pictures_is_refused(env):
    with pytest.raises(UserError, match="PointReach has no pictures") as refused:
        DrawingProcess(env, 64)
    assert is_sentence(str(refused.value))


def test_where_nothing_draws_the_remedy_is_said(nothing_draws):
    with pytest.raises(NoDevice, match="apt-get install chromium") as refused:
        DrawingProcess(ManiSkill(), 64)
    assert is_sentence(str(refused.value))


def test_pictures_to_learn_from_are_refused_before_anything_is_built(nothing_draws):
    with pytest.raises(NoDevice, match="apt-get install chromium") as refused:
        ManiSkill(obs="rgb", device="cpu").make(1)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize("folder", ["a/b", "c"])
def test_swiftshader_is_looked_for_after_what_the_system_has(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "CHROMIUMS", (str(tmp_path / "c"), str(tmp_path / "*/b")))
    (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / folder / drawing.SWIFTSHADER
    path.touch()
    assert list(drawing._devices()) == [{}, {"VK_ICD_FILENAMES": str(path), "VK_DRIVER_FILES": str(path)}]


def red(picture):
    """Which pixels have the colour of PickCube's cube."""
    r, g, b = np.moveaxis(picture.astype(int), -1, 0)
    return (r > 100) & (g < 40) & (b < 40)


@pytest.mark.draws
@pytest.mark.maniskill
def test_the_camera_sees_the_cube_where_the_state_says_it_is():
    from rlft.rollout import LocalRollouts

    states = LocalRollouts(ManiSkill(), 2).initial_states(1)  # of two episodes
    renderer = DrawingProcess(ManiSkill(), 128)
    try:
        far = renderer.frames(states)
        assert far.shape == (2, 128, 128, 3)
        assert len(np.unique(far)) > 50  # a picture
        renderer.aim(states[:1])
        near = renderer.frames(states)
        assert red(near[0]).sum() > 1.5 * red(far[0]).sum() > 0
        np.testing.assert_array_equal(renderer.frames(states[1:])[0], near[1])  # whatever was drawn before
        assert (near[0] != near[1]).any()
        with pytest.raises(UserError, match="different versions"):
            renderer.frames(dataclasses.replace(states, physics=states.physics[:, :-4]))
        other = states.physics.view(torch.float32).clone()
        other[:, :] = 7.0  # no quaternion is like that
        with pytest.raises(UserError, match="does not hold the state"):
            renderer.frames(dataclasses.replace(states, physics=other.view(torch.uint8)))
    finally:
        renderer.close()
