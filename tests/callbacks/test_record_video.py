import pytest
import torch

from rlft.callbacks import RecordVideo
from rlft.cli import main
from rlft.envs import drawing
from rlft.errors import UserError
from rlft.files.tensors import read_tensors
from tests.support.drawing import pictures_of
from tests.support.training import made_by, smoke

CALLBACK = "--trainer.callbacks+=RecordVideo"


def test_a_run_that_cannot_be_drawn_is_refused_at_its_start(tmp_path, capsys):
    assert main(smoke(tmp_path, CALLBACK)) == 1
    said = capsys.readouterr()
    assert "PointReach has no pictures" in said.err
    assert "iteration" not in said.out


@pytest.mark.parametrize("wrong", [{"num_episodes": 0}, {"every_n_iterations": 0}, {"size": 99}, {"seed": -1}])
def test_sizes_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UserError, match=f"RecordVideo.{next(iter(wrong))}"):
        RecordVideo(**wrong)


PICKCUBE = [
    "fit",
    "--config=configs/gae_ppo.yaml",
    "--data.num_envs=4",
    "--data.num_steps=10",
    "--data.num_workers=0",
    "--data.num_minibatches=2",
    "--data.update_epochs=2",
    "--trainer.max_epochs=2",
    "--eval.num_episodes=4",
]


@pytest.mark.maniskill
def test_where_nothing_draws_a_run_is_refused_at_its_start(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(drawing, "CHROMIUMS", ())
    for name in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"):
        monkeypatch.setenv(name, "/nowhere.json")
    assert main([*PICKCUBE, f"--log_dir={tmp_path}", CALLBACK]) == 1
    said = capsys.readouterr()
    assert "apt-get install chromium" in said.err
    assert "iteration" not in said.out


@pytest.mark.draws
@pytest.mark.maniskill
def test_a_run_is_recorded_and_learns_the_same(tmp_path):
    plain = made_by([*PICKCUBE, f"--log_dir={tmp_path}"], tmp_path)
    options = ["num_episodes=1", "size=64", "every_n_iterations=1"]
    recorded = made_by(
        [*PICKCUBE, f"--log_dir={tmp_path}", CALLBACK, *(f"--trainer.callbacks.{option}" for option in options)],
        tmp_path,
    )
    assert recorded.parent == plain.parent  # the same run
    first, second = (read_tensors(run / "policies/last.safetensors", "")[0] for run in (plain, recorded))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    films = recorded / "videos"
    names = {f"iteration_{i}.{ending}" for i in (0, 1, 2) for ending in ("mp4", "png")}
    assert {path.name for path in films.iterdir()} == names
    assert len(pictures_of(films / "iteration_2.mp4")) == 50 + 10
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(recorded))
    events.Reload()
    assert [event.step for event in events.Images("videos/contact_sheet")] == [0, 40, 80]
