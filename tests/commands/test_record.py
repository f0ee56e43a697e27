import numpy as np
import pytest
from PIL import Image

from rlft.cli import main
from rlft.networks.policy_files import load_policy, save_policy
from tests.support.drawing import pictures_of
from tests.support.hand_made import is_sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "No policy 'nowhere'"),
        (["pointreach/weak"], "PointReach has no pictures"),
        (["pickcube/weak", "--size=63"], "--size is 63"),
        (["pickcube/weak", "--which=[3, 3]"], "different numbers"),
        (["pickcube/weak", "--which=best"], "which"),
        (["pickcube/weak", "--episodes=0"], "--episodes is 0"),
        (["pickcube/weak", "--beside=pointreach/weak"], "no task could compare them"),
        (["racing/driver", "--beside=racing/driver5"], "a film shows both in the same"),
        (["pickcube/weak", "--seed=-1"], "--seed is -1"),
        (
            ["pickcube/weak", "--out=film.mp4"],
            "film.mp4 is the folder that files go into; name one such as film.",
        ),
        (["pickcube/weak", f"--out={__file__}/below"], "cannot be made a directory"),
    ],
)
def test_what_cannot_be_recorded_is_said_at_once(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["record", *arguments]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert is_sentence(said)
    assert not list(tmp_path.iterdir())


def test_policies_of_different_tasks_are_refused(tmp_path, capsys):
    save_policy(tmp_path / "pusher.safetensors", load_policy("pickcube/expert").actor, None, {"task": "PushCube-v1"})
    assert main(["record", "pickcube/weak", f"--beside={tmp_path}/pusher.safetensors"]) == 1
    assert "PushCube-v1" in capsys.readouterr().err


@pytest.mark.draws
@pytest.mark.maniskill
def test_two_policies_side_by_side(tmp_path, capsys):
    arguments = ["pickcube/weak", "--beside=pickcube/expert", "--which=[1]", "--size=64", "--num_workers=0"]
    assert main(["record", *arguments, f"--out={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "pickcube/weak: success in 0 of 1" in said
    assert "pickcube/expert: success in 1 of 1" in said
    assert "102 pictures" in said
    name = "pickcube-weak-beside-pickcube-expert-1"
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.mp4", f"{name}.png"}
    shown = pictures_of(tmp_path / f"{name}.mp4")
    assert shown.shape[0] == 50 + 10
    assert shown.shape[2] == 2 * 64 + 4
    sheet = np.asarray(Image.open(tmp_path / f"{name}.png"))
    assert sheet.shape == (2 * shown.shape[1] + 4, 5 * 64 + 4 * 4, 3)
    of_weak, of_expert = sheet[shown.shape[1] - 64 : shown.shape[1]], sheet[-64:]
    np.testing.assert_array_equal(of_weak[:, :64], of_expert[:, :64])  # they begin in the same state
    assert (of_weak[:, -64:] != of_expert[:, -64:]).any(2).mean() > 0.05
