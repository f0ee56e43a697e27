"""Paths as they are typed: `~` is the home folder wherever a path may stand, also where no shell has read it."""

import pytest

from rlft.cli import main
from rlft.comparison.named_folders import named_folders
from rlft.errors import UserError
from rlft.files.folders import check_folder
from rlft.files.own_configs import config_path
from rlft.networks.policy_files import load_policy
from tests.support.parsed import parsed
from tests.support.training import smoke


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, beside the folder that commands are run in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert not (tmp_path / "here/~").exists()


def test_what_a_run_is_told_of_files(home):
    """A run of a config with `log_dir: ~/logs` went to a folder called `~`, but for what TensorBoard writes."""
    (home / "own.yaml").write_text(
        "log_dir: ~/logs\nrun_name: run\ntrainer:\n  max_epochs: 1\neval:\n  num_episodes: 4\n"
    )
    arguments = [arg for arg in smoke("", "--config=~/own.yaml") if not arg.startswith("--log_dir")]
    assert main(arguments) == 0
    version = home / "logs/run/version_0"
    assert {"config.yaml", "checkpoints", "policies", "report.md"} <= {path.name for path in version.iterdir()}
    assert main([*arguments, "--ckpt_path=~/logs/run/version_0/checkpoints/last.ckpt", "--trainer.max_epochs=2"]) == 0
    assert main(["log", "~/logs"]) == main(["note", "~/logs/run", "good"]) == 0
    assert load_policy("~/logs/run/version_0").name == str(version / "policies/best.safetensors")
    assert [one.path for one in named_folders(["A=~/logs/r*"])] == [home / "logs/run"]


def test_data_from_the_home_folder(home):
    options = ["--policies=pointreach/weak", "--env=PointReach", "--episodes=16"]
    assert main(["collect", "~/demos.h5", *options]) == 0
    assert (home / "demos.h5").is_file()
    options = ["--data=OfflineDataModule", "--data.dataset=~/demos.h5", "--data.num_minibatches=1"]
    assert main(smoke(home / "logs", *options, "--trainer.max_epochs=1", config="bc")) == 0
    assert "dataset_demos" in parsed(*smoke(home, *options, config="bc")[1:]).config.fit.run_name


def test_folders_for_files_and_configs(home):
    assert check_folder("~/films", ".mp4") == home / "films"
    assert config_path("~/mine.yaml") == home / "mine.yaml"
    with pytest.raises(UserError, match="No policy '~nobody-of-that-name/weak'"):
        load_policy("~nobody-of-that-name/weak")
    with pytest.raises(UserError, match="--out is empty; name a folder for the files"):
        check_folder("")
