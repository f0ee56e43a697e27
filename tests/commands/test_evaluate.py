import re

import pytest

from rlft.cli import main
from rlft.commands.environments import EnvSettings
from rlft.commands.evaluate import evaluate
from rlft.envs import ManiSkill
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.networks.policy_files import load_policy, save_policy
from rlft.rollout import LocalRollouts
from rlft.statistics.rates import mcnemar_p
from tests.support.hand_made import is_sentence

EPISODES = 12


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
    assert "--task" in error


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
