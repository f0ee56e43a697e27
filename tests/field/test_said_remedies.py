"""What a refusal says would be right is done to the letter, and is right."""

import re
import shlex
import shutil
import tomllib

import pytest

from rlft.cli import main
from rlft.networks import GaussianActor, ValueCritic
from rlft.networks.policy_files import load_policy, save_policy
from tests.support.hand_made import REPO
from tests.support.training import made_by, run, smoke, with_overlay


def refused(capsys, arguments):
    """The sentence, and the options in it."""
    assert main(arguments) == 1
    said = capsys.readouterr().err.strip().removesuffix(".")
    found = [
        re.split(r" (?:and|with|begins|goes|does|sets|holds)\b", part)[0] for part in re.split(r"(?=--[a-z])", said)[1:]
    ]
    return said, [word for part in found for word in shlex.split(part)]


def test_a_critic_of_something_else(tmp_path, capsys):
    arguments = smoke(tmp_path, "--model.critic_policy=pointreach/expert", "--trainer.max_epochs=1")
    _, options = refused(capsys, arguments)
    assert options[0] == "--model.accept_critic_mismatch"
    assert main([*arguments, *options]) == 0


def test_a_policy_of_another_environment(tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    save_policy(other, GaussianActor(6, 2, 8, 1), ValueCritic(6, 8, 1), {"task": "Another-v1", "robot": "fetch"})
    arguments = smoke(tmp_path / "logs", f"--model.policy={other}", "--trainer.max_epochs=1")
    _, options = refused(capsys, arguments)
    assert options[0] == "--accept_mismatch"
    assert main([*arguments, *options]) == 0


def test_a_pitfall_that_is_refused(tmp_path, capsys):
    arguments = smoke(tmp_path, "--zoo=pointreach", "--model.policy=pointreach/expert", "--pitfalls.action=refuse")
    for _ in range(3):  # one after the other
        status = main([*arguments, "--trainer.max_epochs=1"])
        if status == 0:
            break
        said = capsys.readouterr().err
        silence = re.findall(r"--pitfalls.silence '\[([\w-]+)\]'", said)[-1]
        before = next((one for one in arguments if one.startswith("--pitfalls.silence=")), "--pitfalls.silence=[]")
        arguments = [one for one in arguments if one != before]
        arguments.append(f"{before[:-1]}{', ' if before[-2] != '[' else ''}{silence}]")
    assert status == 0
    assert any("strong-start" in one for one in arguments)


def test_a_checkpoint_that_has_done_all_its_iterations(tmp_path, capsys):
    run(tmp_path, "--trainer.max_epochs=1")
    arguments = smoke(tmp_path, "--trainer.max_epochs=1", "--ckpt_path=last")
    said, _ = refused(capsys, arguments)
    assert "give --trainer.max_epochs above 1 to go on" in said
    assert main([*arguments, "--trainer.max_epochs=2"]) == 0


def test_a_run_that_counts_env_steps_and_has_done_them(tmp_path, capsys):
    """`--trainer.max_epochs`, which `data.total_timesteps` replaces, was the remedy that all these sentences named."""
    arguments = smoke(tmp_path, "--data.total_timesteps=320")
    assert main(arguments) == 0
    capsys.readouterr()
    goes_on = [*arguments, "--ckpt_path=last"]
    said, _ = refused(capsys, goes_on)
    assert "has done its 1 iterations; give a larger --data.total_timesteps to go on" in said
    said, _ = refused(capsys, [*goes_on, "--model.learning_rate=0.01"])
    assert "last.ckpt and a larger --data.total_timesteps" in said
    said, _ = refused(capsys, [*goes_on, "--data.num_steps=40", "--data.total_timesteps=640"])
    assert "last.ckpt and a larger --data.total_timesteps" in said
    said, _ = refused(capsys, [*goes_on, "--trainer.max_epochs=5"])
    assert "--trainer.max_epochs is 5, but data.total_timesteps, 320, makes it 1; give another --data.total" in said
    assert main([*goes_on, "--data.total_timesteps=640"]) == 0
    assert main([*goes_on, "--data.total_timesteps=null", "--trainer.max_epochs=3"]) == 0


def test_a_policy_file_that_is_no_checkpoint(tmp_path, capsys):
    version = run(tmp_path, "--trainer.max_epochs=1")
    path = version / "policies/last.safetensors"
    said, _ = refused(capsys, smoke(tmp_path, f"--ckpt_path={path}"))
    assert "policies go to --model.policy" in said
    assert main(smoke(tmp_path, f"--model.policy={path}", "--trainer.max_epochs=1")) == 0


def test_replay_files_that_are_gone(tmp_path, capsys):
    arguments = with_overlay(tmp_path, "--model.critic.hidden_dim=8", "--trainer.max_epochs=1", config="off_policy")
    version = made_by(arguments, tmp_path)
    shutil.rmtree(version / "replay")
    said, _ = refused(capsys, [*arguments, "--trainer.max_epochs=2", "--ckpt_path=last"])
    assert "start anew from the policy: --model.policy with the checkpoint's path" in said
    assert main([*arguments, f"--model.policy={version / 'checkpoints/last.ckpt'}"]) == 0


def test_trajectories_that_are_there_already(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["collect", "demos.h5", "--policies=pointreach/expert", "--episodes=4", "--env=PointReach"]
    assert main([*arguments, "--num_workers=0"]) == 0
    capsys.readouterr()
    _, options = refused(capsys, [*arguments, "--num_workers=0"])
    assert options == ["--overwrite", "true"]
    assert main([*arguments, "--num_workers=0", *options]) == 0


def test_a_folder_without_runs(tmp_path, capsys):
    said, _ = refused(capsys, ["log", str(tmp_path)])
    assert f"`rlft fit` with --log_dir {tmp_path} begins it" in said
    run(tmp_path, "--trainer.max_epochs=1")
    assert main(["log", str(tmp_path)]) == 0


def test_every_extra_that_is_recommended_exists():
    extras = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    source = "\n".join(path.read_text() for path in (REPO / "rlft").rglob("*.py"))
    recommended = set(re.findall(r"rlft(?:\\\\)?\[(\w+)\]'", source))
    assert recommended == {"docs", "ray", "slurm"}
    assert recommended <= extras.keys()


@pytest.mark.parametrize("name", ["pointreach/weak", "pickcube/weak"])
def test_the_policies_that_sentences_name_are_there(name):
    assert load_policy(name).name == name
