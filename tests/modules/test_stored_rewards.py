"""Replay under running moments, and under another reward, through the command line."""

import json

import numpy as np
import pytest
import torch

from rlft.cli import main
from rlft.commands.collect import collect
from rlft.data import replay_files
from rlft.envs import PointReach
from rlft.runs.iterations import read_iterations
from rlft.trajectories.reader import read_trajectories
from tests.data.test_reward_normalization import discounted
from tests.modules.test_off_policy import arguments, run
from tests.support.hand_made import is_sentence
from tests.support.hand_made import same as same_tensors
from tests.support.training import same_policies, scalars

TELLING = ("--data.env=tests.support.telling.TellingReach", "--model.critic.head=mse")
NORMALIZED = (*TELLING, "--data.reward_normalization=RewardNormalization")
GAMMA = 0.97


def checkpoint(version):
    return torch.load(version / "checkpoints/last.ckpt", weights_only=True)


def of_data(version):
    return checkpoint(version)["ReplayDataModule"]


def segments(version, count):
    return [replay_files.read_segment(version, iteration) for iteration in range(count)]


def stored(version, count):
    """The rewards in its files, `[T, N]`."""
    return torch.cat([experience.reward for experience, _ in segments(version, count)])


def last(version):
    return f"--ckpt_path={version / 'checkpoints/last.ckpt'}"


def notes(version):
    lines = (version / "report.md").read_text().split("## Start")[1].split("##")[0].splitlines()
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]


def refused(capsys, *options):
    assert main(arguments(*options)) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    return error


@pytest.fixture(scope="module")
def normalized(tmp_path_factory):
    """Three iterations."""
    return run(tmp_path_factory.mktemp("normalized"), *NORMALIZED)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two iterations under running moments."""
    return run(tmp_path_factory.mktemp("two"), *NORMALIZED, "--trainer.max_epochs=2")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two iterations without."""
    return run(tmp_path_factory.mktemp("plain"), *TELLING, "--trainer.max_epochs=2")


# ---- running moments ---------------------------------------------------------------------------------------------


def test_files_hold_rewards_as_they_were_and_moments_are_those_of_their_returns(normalized):
    rewards = stored(normalized, 3)
    assert (rewards <= 1).all()
    whole = type(segments(normalized, 1)[0][0]).cat([experience for experience, _ in segments(normalized, 3)])
    expected, kept = discounted(whole, GAMMA), of_data(normalized)["rewards"]["moments"]["moments"]
    assert kept["count"] == len(expected) == 960
    assert kept["mean"] == pytest.approx(expected.mean(), rel=1e-9)
    assert kept["squares"] / kept["count"] == pytest.approx(expected.var(), rel=1e-9)
    logged = scalars(normalized)["charts/reward_scale"][-1][1]
    assert logged == pytest.approx(1 / np.sqrt(expected.var() + 1e-8), rel=1e-6)
    assert json.loads((normalized / "policies/last.json").read_text())["critic"]["reward_scale"] == pytest.approx(
        logged
    )


def test_critics_learn_normalised_returns(normalized, plain):
    """A scale of about 10 shows in what they are to say, and not in what is logged of rewards and evaluations."""
    mine, theirs = read_iterations(normalized)[1], read_iterations(plain)[1]
    assert mine["charts/return_mean"] == pytest.approx(
        theirs["charts/return_mean"] * mine["charts/reward_scale"], rel=1e-3
    )
    for name in ("train/reward", "reward/near"):
        assert mine[name] == pytest.approx(theirs[name])
    assert read_iterations(normalized)[0]["eval/return"] == pytest.approx(read_iterations(plain)[0]["eval/return"])


def test_it_goes_on_to_the_bit(normalized, two, tmp_path):
    second = run(tmp_path, *NORMALIZED, last(two))
    assert same_policies(second, normalized)
    assert same_tensors(checkpoint(second)["state_dict"], checkpoint(normalized)["state_dict"])
    mine, theirs = (of_data(version)["rewards"]["moments"] for version in (second, normalized))
    assert mine["moments"] == theirs["moments"]
    assert torch.equal(mine["return"], theirs["return"])
    assert not any(note.startswith("Rewards are") for note in notes(second))


def test_heads_for_returns_up_to_1_are_refused(tmp_path, capsys):
    assert "set model.critic.head mse" in refused(capsys, tmp_path, *NORMALIZED, "--model.critic.head=bce")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TELLING, "reward_normalization class RewardNormalization (here nothing)"),
        ((*NORMALIZED, "--data.reward_normalization.clip=5"), "reward_normalization clip 10.0 (here 5.0)"),
        ((*NORMALIZED, "--model.gamma=0.9"), "reward_normalization gamma 0.97 (here 0.9)"),
    ],
)
def test_other_moments_are_refused(options, said, two, tmp_path, capsys):
    error = refused(capsys, tmp_path, *options, last(two))
    assert said in error
    assert "--on_reward_change recompute" in error


def test_moments_that_come_later_are_made_of_what_is_stored(plain, tmp_path):
    second = run(tmp_path, *NORMALIZED, last(plain), "--on_reward_change=recompute")
    assert torch.equal(stored(second, 2), stored(plain, 2))
    whole = type(segments(second, 1)[0][0]).cat([experience for experience, _ in segments(second, 3)])
    kept, expected = of_data(second)["rewards"]["moments"]["moments"], discounted(whole, GAMMA)
    assert kept["count"] == 960
    assert kept["squares"] / 960 == pytest.approx(expected.var(), rel=1e-9)


def test_prior_data_count_once_however_often_a_run_goes_on(tmp_path):
    """They are there before anything is collected, and critics learn from them in the same units."""
    demos = tmp_path / "demos.h5"
    collect(str(demos), "pointreach/expert", (), 20, env=PointReach(), num_envs=8, num_workers=0)
    options = ("--model.critic.head=mse", "--data.reward_normalization=RewardNormalization", f"--data.prior={demos}")
    offline = (*options, "--data.offline_iterations=1")
    whole = run(tmp_path / "whole", *offline)
    first = run(tmp_path / "parts", *offline, "--trainer.max_epochs=2")
    assert same_policies(run(tmp_path / "parts", *offline, last(first)), whole)
    kept = of_data(whole)["rewards"]["moments"]["moments"]
    steps = read_trajectories(demos, PointReach().make(1).spec, None, None).reward.numel()
    assert kept["count"] == steps + 640


# ---- another reward ----------------------------------------------------------------------------------------------


def test_another_reward_is_refused(plain, tmp_path, capsys):
    error = refused(capsys, tmp_path, *TELLING, "--data.env.near=0.5", last(plain))
    assert "near 0.1 (here 0.5); go on with the reward as it was" in error
    assert not list(tmp_path.glob("*/version_*/replay"))


def test_the_reward_of_tasks_that_say_nothing_is_all_that_transitions_depend_on(tmp_path, capsys):
    first = run(tmp_path, "--trainer.max_epochs=1")
    rewards = of_data(first)["rewards"]
    assert rewards["record"]["reward"] == {"class": "PointReach", "horizon": 20, "radius": 0.2, "speed": 0.1}
    assert "radius 0.2 (here 0.3)" in refused(capsys, tmp_path, "--data.env.radius=0.3", last(first))


def test_stored_rewards_are_computed_again(plain, tmp_path):
    """In files and minibatches alike; from there the run goes on without a question."""
    options = (*TELLING, "--data.env.near=0.5")
    second = run(tmp_path, *options, last(plain), "--on_reward_change=recompute")
    for (experience, inputs), reward in zip(segments(second, 2), stored(plain, 2).split(40), strict=True):
        assert torch.equal(experience.reward, inputs["goal"] - 0.5 * inputs["distance"])
        assert not torch.equal(experience.reward, reward)
    (note, _) = notes(second)[-2:]
    assert note == (
        "Rewards are others from here on, stored rewards were made those of this run, and running moments begin anew: "
        "near 0.1 (here 0.5)."
    )
    assert of_data(second)["rewards"]["record"]["reward"] == {"near": 0.5, "factor": 1.0}
    third = run(tmp_path, *options, last(second), "--trainer.max_epochs=4")
    assert torch.equal(stored(third, 3), stored(second, 3))


def test_what_was_computed_again_is_as_if_it_had_always_been_so(two, tmp_path):
    """Twice the reward: half the scale, and the same moments as of a run that had it from the start."""
    options = (*NORMALIZED, "--data.env.factor=2")
    second = run(tmp_path, *options, last(two), "--on_reward_change=recompute")
    assert torch.equal(stored(second, 2), 2 * stored(two, 2))
    whole = type(segments(second, 1)[0][0]).cat([experience for experience, _ in segments(second, 3)])
    kept = of_data(second)["rewards"]["moments"]["moments"]
    assert kept["squares"] / kept["count"] == pytest.approx(discounted(whole, GAMMA).var(), rel=1e-9)


def test_what_cannot_be_computed_again_is_refused(plain, tmp_path, capsys):
    options = (*TELLING, "--data.env.near=0.5", last(plain), "--on_reward_change=recompute")
    assert "give --on_reward_change reset" in refused(capsys, tmp_path, *options, "--data.env.recomputes=false")
    for iteration, (experience, _) in enumerate(segments(plain, 2)):  # as earlier versions wrote them
        replay_files.write_segment(tmp_path / "old", iteration, experience, {})
    (tmp_path / "old/checkpoints").mkdir()
    path = tmp_path / "old/checkpoints/last.ckpt"
    torch.save(checkpoint(plain), path)
    assert "the steps lack the numbers" in refused(capsys, tmp_path, *options[:-2], f"--ckpt_path={path}", options[-1])


def test_a_reset_drops_what_was_stored(two, tmp_path):
    options = (*NORMALIZED, "--data.env.near=0.5")
    second = run(tmp_path, *options, last(two), "--on_reward_change=reset")
    assert [path.name for path in (second / "replay").iterdir()] == ["iteration_00002.safetensors"]
    assert of_data(second)["rewards"]["moments"]["moments"]["count"] == 320
    assert "all experience was dropped" in " ".join(notes(second))
    again = run(tmp_path, *options, last(second), "--trainer.max_epochs=4")
    assert of_data(again)["replay"] == [2, 3]


def test_runs_that_differ_in_what_became_of_rewards_are_two_methods(plain, tmp_path):
    options = (*TELLING, "--data.env.near=0.5", last(plain))
    versions = [run(tmp_path, *options, f"--on_reward_change={how}") for how in ("recompute", "reset")]
    digests = {json.loads((version / "status.json").read_text())["digest"] for version in versions}
    assert len(digests) == 2


def test_what_has_nothing_to_do_is_said(plain, tmp_path):
    second = run(tmp_path, *TELLING, last(plain), "--on_reward_change=reset")
    assert "Rewards are as they were, so --on_reward_change reset had nothing to do." in notes(second)
    assert torch.equal(stored(second, 2), stored(plain, 2))


def test_a_checkpoint_that_names_no_reward_goes_on_and_says_so(plain, tmp_path):
    saved = checkpoint(plain)
    del saved["ReplayDataModule"]["rewards"]
    path = plain / "checkpoints/old.ckpt"
    torch.save(saved, path)
    second = run(tmp_path, *TELLING, f"--ckpt_path={path}")
    assert any("does not name the reward of its experience" in note for note in notes(second))
    assert torch.equal(stored(second, 2), stored(plain, 2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--on_reward_change is of use only with --ckpt_path"),
        (("--data=RolloutDataModule", "--data.env=PointReach"), "--on_reward_change is of use only with --ckpt_path"),
    ],
)
def test_a_new_run_has_no_stored_rewards(options, said, tmp_path, capsys):
    assert said in refused(capsys, tmp_path, "--on_reward_change=reset", *options)
