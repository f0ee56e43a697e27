import re

import pytest

from rlft.cli import main
from rlft.commands.environments import EnvSettings, environment_of
from rlft.commands.evaluate import evaluate
from rlft.envs import ManiSkill, PointReach
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.networks.policy_checks import check_made_for
from rlft.networks.policy_files import load_policy, save_policy
from rlft.rollout import LocalRollouts
from rlft.statistics.rates import mcnemar_p
from tests.support.hand_made import is_sentence
from tests.support.rollouts import assert_equal
from tests.support.training import run

EPISODES = 12
FEW = ("--episodes=4", "--num_workers=0")


@pytest.mark.maniskill
def test_two_policies_are_compared_from_equal_initial_states(capsys):
    assert (
        main(["evaluate", "pickcube/weak", "--against=pickcube/expert", f"--episodes={EPISODES}", "--num_workers=0"])
        == 0
    )
    shown = capsys.readouterr().out
    rollouts = LocalRollouts(ManiSkill(), EPISODES)
    weak, expert = (
        rollouts.evaluate(load_policy(f"pickcube/{name}").actor, EPISODES, seed=EVALUATION_SEED, deterministic=True)
        for name in ("weak", "expert")
    )
    won = int((weak.success_once & ~expert.success_once).sum())
    lost = int((expert.success_once & ~weak.success_once).sum())
    row = re.search(r"pickcube/weak less pickcube/expert.*?deterministic │([^\n]*)│\n", shown, re.S)
    difference, interval, *rest = (cell.strip() for cell in row[1].split("│"))
    assert lost > 0
    assert difference == f"{100 * (won - lost) / EPISODES:+.1f}"
    low, high = map(float, interval.split(" to "))
    assert low < float(difference) < high
    assert rest == [str(won), str(lost), f"{mcnemar_p(won, lost):.3f}"]


def test_policies_of_two_tasks_are_refused(tmp_path, capsys):
    save_policy(tmp_path / "pusher.safetensors", load_policy("pickcube/expert").actor, None, {"task": "PushCube-v1"})
    assert main(["evaluate", "pickcube/weak", f"--against={tmp_path}/pusher.safetensors"]) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert "PushCube-v1" in error
    assert "--task PickCube-v1 --accept_mismatch '[task]'" in error


@pytest.mark.maniskill
def test_what_the_refusal_of_two_tasks_says_is_right(tmp_path, capsys):
    save_policy(tmp_path / "pusher.safetensors", load_policy("pickcube/expert").actor, None, {"task": "PushCube-v1"})
    arguments = ["evaluate", "pickcube/weak", f"--against={tmp_path}/pusher.safetensors", *FEW]
    assert main([*arguments, "--task", "PickCube-v1", "--accept_mismatch", "[task]"]) == 0
    assert "pickcube/weak less" in capsys.readouterr().out


def test_policies_of_other_sizes_cannot_be_compared(capsys):
    assert main(["evaluate", "pickcube/weak", "--against=pushcube/weak"]) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert "42 observations to 8 actions" in error
    assert "35 observations to 8 actions" in error
    assert "--task" not in error


@pytest.fixture
def of_two_spawn_areas(tmp_path):
    """Files of one policy, made for cubes that lie in different squares."""
    weak, files = load_policy("pickcube/weak"), [tmp_path / "one.safetensors", tmp_path / "other.safetensors"]
    for file, side in zip(files, (0.1, 0.05), strict=True):
        made_for = {"task": "PickCube-v2", "task_options": {"cube_spawn_half_size": side}}
        save_policy(file, weak.actor, None, {**weak.info, **made_for})
    return list(map(str, files))


@pytest.mark.parametrize(("command", "option"), [("evaluate", "--against"), ("record", "--beside")])
def test_policies_that_begin_in_other_states_are_refused(command, option, of_two_spawn_areas, capsys):
    one, other = of_two_spawn_areas
    assert main([command, one, option, other]) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert 'options {"cube_spawn_half_size": 0.05}; what is given by --env_settings holds for both' in error


@pytest.mark.maniskill
def test_what_the_refusal_of_other_states_says_is_right(of_two_spawn_areas, capsys):
    one, other = of_two_spawn_areas
    options = ["--env_settings.task_options={cube_spawn_half_size: 0.05}", "--accept_mismatch=[task_options]"]
    assert main(["evaluate", one, "--against", other, *options, "--actions=deterministic", *FEW]) == 0
    first, second, _ = re.findall(r"deterministic │([^\n]*)│\n", capsys.readouterr().out)
    assert first == second


@pytest.mark.maniskill
def test_returns_of_two_policies_are_of_one_reward(tmp_path, capsys):
    """The same weights, made with another reward, have the same returns."""
    weak, other = load_policy("pickcube/weak"), tmp_path / "other.safetensors"
    save_policy(other, weak.actor, None, {**weak.info, "reward_mode": "normalized_dense"})
    assert main(["evaluate", str(other), "--against=pickcube/weak", "--actions=deterministic", *FEW]) == 0
    shown = capsys.readouterr().out
    assert "reward mode normalized_dense for both; pickcube/weak was made with sparse." in shown
    rows = re.findall(r"deterministic │([^\n]*)│\n", shown)
    returns = [row.split("│")[3].strip() for row in rows[:2]]
    assert returns[0] == returns[1]
    assert float(returns[0]) > 1  # not the share of successes


@pytest.mark.maniskill
def test_two_policies_have_the_same_time(tmp_path, capsys):
    """A policy that was made with more time than another had more time than that one here, too."""
    weak, other = load_policy("pickcube/weak"), tmp_path / "other.safetensors"
    save_policy(other, weak.actor, None, {**weak.info, "max_episode_steps": 3})
    assert main(["evaluate", str(other), "--against=pickcube/weak", "--actions=deterministic", *FEW]) == 0
    shown = capsys.readouterr().out
    assert "is 3 for both; pickcube/weak was made with that of the task." in shown
    first, second, _ = re.findall(r"deterministic │([^\n]*)│\n", shown)
    assert first == second


@pytest.fixture
def reacher(tmp_path):
    """A policy of an environment that its file names."""
    path = tmp_path / "reacher.safetensors"
    info = {"task": "PointReach", "environment": {"class_path": "rlft.envs.PointReach"}}
    save_policy(path, load_policy("pointreach/weak").actor, None, info)
    return str(path)


@pytest.mark.parametrize("kind", ["deterministic", "stochastic"])
def test_one_kind_of_actions_is_played(kind, reacher, capsys):
    both = evaluate(reacher, 20, num_workers=0)
    assert list(both) == ["deterministic", "stochastic"]
    capsys.readouterr()
    alone = evaluate(reacher, 20, num_workers=0, num_envs=7, actions=kind, against=reacher)
    assert list(alone) == [kind]
    assert_equal(alone[kind], both[kind])
    shown = capsys.readouterr().out.split()
    assert shown.count(kind) == 3  # a row for each, and one of the difference
    assert {"deterministic", "stochastic"} - set(shown)


def test_a_long_evaluation_says_how_far_it_is(reacher, capsys, monkeypatch):
    monkeypatch.setattr("rlft.commands.evaluate.PATIENCE", 0.0)
    evaluate(reacher, 20, num_workers=0, num_envs=8, actions="deterministic")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" with")[0] for line in lines] == [
        f"{reacher}: {played} of 20 episodes" for played in (0, 8, 16)
    ]


def test_the_folder_of_a_run_stands_for_its_best_which_is_said(tmp_path):
    version = run(tmp_path, "--trainer.max_epochs=1")
    policy, beside = load_policy(str(version.parent)), load_policy(str(version / "policies/last.safetensors"))
    assert check_made_for(policy, policy.info) == [
        f"Policy {version}/policies/best.safetensors: it is the best of its run's evaluations, of iteration 1; "
        "beside it there is last.safetensors."
    ]
    assert check_made_for(beside, beside.info) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [("pickcube/weka", "pickcube/weak"), ("{}/runs/gae_pp-seed1", "{}/runs/gae_ppo-seed1")],
)
def test_a_policy_that_is_not_there(name, meant, tmp_path, capsys):
    (tmp_path / "runs/gae_ppo-seed1").mkdir(parents=True)
    assert main(["evaluate", name.format(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert f"; did you mean {meant.format(tmp_path)}" in error
    assert "racing" not in error


def test_what_smoke_made_is_evaluated(tmp_path, capsys):
    """`Task 'PointReach' is not registered with ManiSkill` was the answer."""
    version = run(tmp_path, "--data.env.horizon=5", "--trainer.max_epochs=1", "--eval.num_episodes=8")
    capsys.readouterr()
    options = ["--episodes=8", "--num_workers=0", "--actions=deterministic"]
    assert main(["evaluate", str(version.parent), *options]) == 0
    assert "best.safetensors on PointReach, 8 episodes" in capsys.readouterr().out
    assert environment_of(load_policy(str(version))) == PointReach(horizon=5)


def test_a_folder_without_a_policy_is_not_what_was_meant(tmp_path, capsys):
    (tmp_path / "policies").mkdir()
    assert main(["evaluate", f"{tmp_path}/policies"]) == 1
    assert "did you mean" not in capsys.readouterr().err


def test_who_acts_without_noise_is_played_once(capsys):
    settings = EnvSettings(task_options={"max_frames": 100})
    results = evaluate(
        *("racing/driver5", 2),
        num_workers=0,
        against="racing/driver5",
        env_settings=settings,
        accept_mismatch=("task_options",),
    )
    assert list(results) == ["deterministic"]
    shown = capsys.readouterr().out
    assert "racing/driver5 acts without noise, so stochastic actions are the same." in shown
    assert "stochastic │" not in shown


def test_cars_of_other_settings_drive_on_the_same_tracks(capsys):
    settings = ["--env_settings.task_options={max_frames: 100}", "--accept_mismatch=[task_options]"]
    assert (
        main(["evaluate", "racing/driver", "--against=racing/driver5", *settings, "--episodes=2", "--num_workers=0"])
        == 0
    )
    shown = capsys.readouterr().out
    assert "racing/driver plays in Racing(" in shown
    assert "racing/driver less racing/driver5" in shown
