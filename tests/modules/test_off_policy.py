"""Off-policy learning through the command line, on PointReach."""

import json
import shutil

import pytest
import torch

from rlft.cli import main
from rlft.commands.collect import collect
from rlft.data import replay_files
from rlft.envs import PointReach
from rlft.networks import QEnsemble
from rlft.networks.policy_files import load_policy
from rlft.runs.iterations import read_iterations
from tests.support.hand_made import REPO, is_sentence
from tests.support.training import last_weights, made_by, same_policies, scalars, with_overlay

SMALL = ("--model.critic.hidden_dim=16",)


def arguments(log_dir, *options, config="off_policy"):
    return with_overlay(log_dir, *SMALL, *options, config=config)


def run(log_dir, *options, config="off_policy"):
    """Trains and returns the new run directory."""
    return made_by(arguments(log_dir, *options, config=config), log_dir)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three iterations, of which the first only warms up."""
    return run(tmp_path_factory.mktemp("three"))


def test_an_iteration_has_its_steps_and_its_updates(three):
    found = scalars(three)
    assert [value for _, value in found["steps/env"]] == [320, 640, 960]
    assert [value for _, value in found["charts/critic_updates"]] == [32, 32, 32]
    assert [value for _, value in found["charts/actor_updates"]] == [16, 16]  # not while it warms up
    assert all(0 <= value <= 1 for _, value in found["charts/q_mean"])


def test_what_is_exported_standardises_observations_as_what_learns(three):
    """The average has weights of its own, and the moments that the critics learned from the first data."""
    saved, exported = torch.load(three / "checkpoints/last.ckpt", weights_only=False), last_weights(three)
    for name, initial in (("critic.obs_mean", 0.0), ("critic.obs_scale", 1.0)):
        moments = saved["current_model_state"][name]
        assert (moments != initial).any()
        assert torch.equal(moments, exported[name])
        assert torch.equal(moments, saved["state_dict"][name])
    assert not torch.equal(saved["current_model_state"]["critic.output.weight"], exported["critic.output.weight"])


def test_the_warm_up_leaves_the_policy_as_it_is(tmp_path):
    version = run(tmp_path, "--trainer.max_epochs=1")
    start, end = load_policy("pointreach/weak").actor, load_policy(str(version / "policies/last.safetensors")).actor
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), end.parameters(), strict=True))


def test_it_learns_the_returns_of_the_start_policy(tmp_path):
    sizes = ("--data.num_envs=50", "--data.num_steps=100", "--trainer.max_epochs=1", "--model.exploration=[0.05,0.25]")
    row = read_iterations(run(tmp_path, *sizes, "--data.updates_per_step=0.2", "--model.critic.hidden_dim=64"))[-1]
    assert abs(row["charts/q_bias"]) < 0.05
    assert row["charts/q_correlation"] > 0.5


def test_the_number_of_workers_changes_nothing(three, tmp_path):
    assert same_policies(run(tmp_path, "--data.num_workers=2"), three)


def test_a_run_goes_on_to_the_same_weights(three, tmp_path):
    first = run(tmp_path, "--trainer.max_epochs=2")
    second = run(tmp_path, "--ckpt_path=last")
    assert same_policies(second, three)
    assert not same_policies(first, three)
    kept = [sorted(path.name for path in (version / "replay").iterdir()) for version in (first, second, three)]
    assert kept == [kept[2][:2], kept[2], kept[2]]


def test_a_file_of_an_iteration_that_was_never_finished_is_made_anew(three, tmp_path):
    first = run(tmp_path, "--trainer.max_epochs=2")
    replay_files.segment(first, 2).write_bytes(b"half a file")
    assert same_policies(run(tmp_path, "--ckpt_path=last"), three)


def test_a_run_without_its_experience_is_refused(tmp_path, capsys):
    first = run(tmp_path, "--trainer.max_epochs=1")
    shutil.rmtree(first / "replay")
    assert main(arguments(tmp_path, "--trainer.max_epochs=2", "--ckpt_path=last")) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert "iteration_00000.safetensors is gone" in error


def test_a_policy_is_written_with_its_critics(three):
    policy = load_policy(str(three / "policies/last.safetensors"))
    assert isinstance(policy.critic, QEnsemble)
    assert policy.critic.obs_scale.ne(1).any()  # the moments are those of the data
    info = json.loads((three / "policies/last.json").read_text())
    assert (info["critic"]["gamma"], info["critic"]["estimator"]) == (0.97, "OffPolicyModule")


def test_what_is_evaluated_is_the_average(three):
    checkpoint = torch.load(three / "checkpoints/last.ckpt", weights_only=True)
    exported = last_weights(three)
    averaged, raw = (checkpoint[key] for key in ("state_dict", "current_model_state"))
    name = "actor.action_head.2.weight" if "actor.action_head.2.weight" in exported else "actor.action_head.0.weight"
    assert torch.equal(exported[name], averaged[name])
    assert not torch.equal(exported[name], raw[name])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data=RolloutDataModule", "--data.env=PointReach"), "model OffPolicyModule needs data ReplayDataModule"),
        (("--data.collect_steps=7",), "data.collect_steps is 7, which does not divide num_steps 40."),
        (("--data.updates_per_step=0.0001",), "data.updates_per_step is 0.0001; it must be at least 1 / 320"),
        (("--data.capacity=3",), "data.capacity is 3; it must be at least num_envs, 8."),
        (("--model.num_targets=3",), "model.num_targets is 3; it must be at most 2, the number of critics."),
        (("--model.exploration=[0.2, 0.1]",), "model.exploration is"),
        (("--model.critic.head=hl_gauss",), "value_range of a critic is None"),
        (("--model.bootstrap_at_done=always",), "set model.warmup collect, or model.warmup_iterations 0"),
        (("--data.num_steps=10",), "No episode has ended in the 10 steps of warm-up"),
    ],
)
def test_what_does_not_fit_is_refused(options, said, tmp_path, capsys):
    wrong = [f"--config={REPO / 'configs/off_policy.yaml'}"] if options[0] == "--data=RolloutDataModule" else []
    command = (
        ["fit", *wrong, "--zoo=pointreach", f"--log_dir={tmp_path}", *options]
        if wrong
        else arguments(tmp_path, *options)
    )
    assert main(command) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert said in error


def test_a_replay_buffer_needs_a_learner_that_replays(tmp_path, capsys):
    options = [f"--config={REPO / 'configs/gae_ppo.yaml'}", "--zoo=pointreach", f"--log_dir={tmp_path}"]
    assert main(["fit", *options, "--data=ReplayDataModule", "--data.env=PointReach"]) == 1
    assert "data ReplayDataModule needs a model that learns from replay" in capsys.readouterr().err


def test_a_stochastic_actor_collects_itself(tmp_path):
    version = run(tmp_path, config="sac")
    found = scalars(version)
    assert len({value for _, value in found["charts/temperature"]}) == 3
    assert [value for _, value in found["charts/actor_updates"]] == [32, 32, 32]


@pytest.mark.parametrize("head", ["mse", "hl_gauss"])
def test_other_heads_learn(head, tmp_path):
    row = read_iterations(run(tmp_path, f"--model.critic.head={head}", "--model.critic.value_range=[0, 1]"))[-1]
    assert 0 <= row["charts/q_target_mean"] <= 1


def test_no_target_leaves_the_range_of_returns_while_warming_up_neither(tmp_path):
    rows = read_iterations(run(tmp_path, "--model.critic.head=mse", "--model.critic.value_range=[0, 0.1]"))[1:]
    assert all(0 < row["charts/q_target_mean"] <= 0.1 for row in rows)


# ---- prior data --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Episodes of an expert."""
    path = tmp_path_factory.mktemp("demos") / "demos.h5"
    collect(str(path), "pointreach/expert", (), 20, env=PointReach(), num_envs=8, num_workers=0)
    return path


def test_prior_data_change_what_is_learned_but_not_what_is_collected(demos, three, tmp_path):
    version = run(tmp_path, f"--data.prior={demos}")
    assert not same_policies(version, three)
    first = [replay_files.read_segment(one, 0)[0] for one in (version, three)]
    assert torch.equal(first[0].reward, first[1].reward)
    assert scalars(version)["steps/env"] == scalars(three)["steps/env"]


def test_a_run_with_prior_data_goes_on_to_the_same_weights(demos, tmp_path):
    whole = run(tmp_path / "whole", f"--data.prior={demos}")
    run(tmp_path / "parts", f"--data.prior={demos}", "--trainer.max_epochs=1")
    assert same_policies(run(tmp_path / "parts", f"--data.prior={demos}", "--ckpt_path=last"), whole)
