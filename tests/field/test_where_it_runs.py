"""Folders and locales in which people start rlft: a `callbacks` of their own, no configs, another encoding."""

import os
import subprocess
import sys

import pytest

from rlft.system import CONFIGS
from tests.support import warm
from tests.support.hand_made import REPO

SHORT = ("--trainer.callbacks+=FreezeSchedule", "--trainer.callbacks.schedule=[{module: critic}]", "--print_config")


def rlft(folder, *arguments):
    """What a process of its own in that folder says, and how it ends."""
    process = warm.rlft(*arguments, cwd=folder, merged=True)
    said, _ = process.communicate()
    return process.returncode, said


@pytest.fixture
def project(tmp_path):
    """A project with a package `callbacks` that has nothing of ours."""
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks/__init__.py").write_text("MINE = 1\n")
    return tmp_path


def test_a_project_may_have_callbacks_of_its_own(project):
    status, said = rlft(project, "fit", "--config", CONFIGS / "gae_ppo.yaml", *SHORT)
    assert status == 0
    assert "class_path: rlft.callbacks.FreezeSchedule" in said


def test_the_old_path_of_a_callback_is_refused_there_with_one_that_works(project):
    old = ("--trainer.callbacks+=callbacks.FreezeSchedule", *SHORT[1:])
    status, said = rlft(project, "fit", "--config", CONFIGS / "gae_ppo.yaml", *old)
    assert status == 1
    assert "write FreezeSchedule or rlft.callbacks.FreezeSchedule." in said


@pytest.mark.parametrize("named", [("gae_ppo", "smoke"), ("--config=configs/gae_ppo.yaml", "--config", "smoke")])
def test_the_configs_of_rlft_are_found_from_any_folder(tmp_path, named):
    status, said = rlft(tmp_path, "fit", *named, "--print_config")
    assert status == 0
    assert "task: PointReach" in said or "class_path: rlft.envs.PointReach" in said
    assert "class_path: rlft.update.PPO" in said


def test_a_study_of_rlft_is_found_from_any_folder(tmp_path):
    status, said = rlft(tmp_path, "study", "smoke", "--dry_run", "true")
    assert (status, "# reset-seed1: begins" in said) == (0, True)


def test_a_file_here_comes_before_the_one_of_that_path_which_rlft_has(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/gae_ppo.yaml").write_text("seed_everything: 77\n")
    status, said = rlft(tmp_path, "fit", "--config", "gae_ppo", "--config", "configs/gae_ppo.yaml", "--print_config")
    assert (status, "seed_everything: 77" in said) == (0, True)


@pytest.mark.parametrize("missing", [("fit", "gae_pp"), ("fit", "--config", "gae_pp.yaml"), ("study", "gae_pp")])
def test_a_config_that_is_not_there_is_refused_with_those_that_may_be_meant(tmp_path, missing):
    status, said = rlft(tmp_path, *missing)
    kind = "study" if missing[0] == "study" else "config"
    assert status == 1
    assert said.startswith(f"rlft: There is no {kind} ")
    assert f"{missing[-1]}; did you mean gae_ppo" in said
    assert said.rstrip().endswith("`rlft configs` lists rlft's own.")


def test_files_are_utf8_whatever_the_locale_says(tmp_path):
    (tmp_path / "own.yaml").write_text("# für später\nrun_name: größer\n", encoding="utf-8")
    files = ("--config", CONFIGS / "gae_ppo.yaml", "--config", "own.yaml")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, "PYTHONPATH": str(REPO), **ascii_only}
    command = [sys.executable, "-m", "rlft", "fit", *map(str, files), "--print_config"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", env=environment)
    assert (done.returncode, "größer" in done.stdout) == (0, True)


def test_a_config_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "own.yaml").write_bytes("run_name: größer\n".encode("latin-1"))
    status, said = rlft(tmp_path, "fit", "--config", "own.yaml")
    assert (status, said.strip()) == (1, "rlft: The config own.yaml is not UTF-8 from byte 12 on; save it as UTF-8.")


def test_a_wheel_has_the_configs_and_the_zoo():
    """The folder of configs is a link, which a wheel has the content of."""
    listed = {path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml")}
    assert {path.relative_to(REPO / "configs") for path in (REPO / "configs").rglob("*.yaml")} == listed
