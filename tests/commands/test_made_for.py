"""Policies say what they were made for, and whoever uses one compares."""

import pytest

from rlft.cli import main
from rlft.errors import UserError
from rlft.networks import GaussianActor
from rlft.networks.policy_checks import check_made_for
from rlft.networks.policy_files import Policy, load_policy, save_policy
from rlft.training.checks import named
from rlft.training.config_tree import Setting
from rlft.types import Mark
from tests.support.training import run, smoke

DESCRIBED = {"task": "PointReach", "robot": None, "control_mode": None, "task_options": {}}


def policy(**info):
    return Policy("it", GaussianActor(6, 2, 8, 1), None, info)


def test_what_fits_is_used_without_a_word():
    assert check_made_for(policy(task="PointReach"), DESCRIBED) == []


def test_another_environment_is_refused_and_can_be_accepted_by_name():
    with pytest.raises(UserError, match=r"Policy it was made for task PushCube-v1 \(here PointReach\); .* '\[task\]'"):
        check_made_for(policy(task="PushCube-v1"), DESCRIBED)
    (note,) = check_made_for(policy(task="PushCube-v1"), DESCRIBED, ["task"])
    assert "PushCube-v1" in note
    assert "accepted" in note


def test_what_a_file_does_not_record_is_said():
    described = {**DESCRIBED, "robot": "panda"}
    (note,) = check_made_for(policy(task="PointReach"), described)
    assert "does not record robot" in note


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A policy of PointReach that says it was made for something else."""
    path = tmp_path_factory.mktemp("policy") / "other.safetensors"
    save_policy(path, GaussianActor(6, 2, 32), None, {"task": "PushCube-v1"})
    return path


@pytest.mark.parametrize(
    "option",
    [
        "--model.policy={}",
        "--model.inject_from={} --model.inject=encoder",
        "--model.advantage=MonteCarloRerollout --model.advantage.policy={} --model.advantage.num_samples=2",
    ],
)
def test_every_use_in_training_compares(other, tmp_path, capsys, option):
    options = option.format(other).split()
    assert main(smoke(tmp_path, *options)) == 1
    said = capsys.readouterr().err
    assert "was made for task PushCube-v1 (here PointReach)" in said
    assert not list(tmp_path.glob("*/version_*"))
    assert main(smoke(tmp_path, *options, "--accept_mismatch=[task]", "--trainer.max_epochs=1")) == 0
    (report,) = tmp_path.glob("*/version_*/report.md")
    assert "which was accepted" in report.read_text()


def test_a_demonstrator_is_compared(other, tmp_path, capsys):
    assert main(smoke(tmp_path, f"--model.demonstrator={other}", config="bc")) == 1
    assert "was made for task PushCube-v1" in capsys.readouterr().err


def test_a_run_records_what_its_policy_is_made_for(tmp_path):
    info = load_policy(str(run(tmp_path) / "policies/last.safetensors")).info
    assert (info["task"], info["obs_dim"], info["action_dim"], info["max_episode_steps"]) == ("PointReach", 6, 2, 20)


@pytest.mark.maniskill
def test_an_expert_under_another_controller_is_refused_not_measured_at_zero(capsys):
    assert (
        main(["evaluate", "pickcube/expert", "--episodes", "4", "--num_workers", "0", "--control_mode", "pd_joint_pos"])
        == 1
    )
    assert "was made for control_mode pd_joint_delta_pos (here pd_joint_pos)" in capsys.readouterr().err


def test_policies_in_a_list_are_looked_at_one_by_one():
    marked = {"marks": frozenset({Mark.POLICY})}
    several = [Setting("model.experts", ["a", "b"], **marked), Setting("model.policy", None, **marked)]
    assert named([*several, Setting("model.gamma", 0.8)], Mark.POLICY) == [
        ("model.experts", "a"),
        ("model.experts", "b"),
    ]
