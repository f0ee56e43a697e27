"""Every command that a message about tasks and trajectories recommends does what the message says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest
import torch

from rlft.envs import ManiSkill
from rlft.envs.maniskill.building import registered
from rlft.envs.maniskill.headless import allow_no_renderer
from rlft.errors import UserError
from rlft.trajectories import read_trajectories
from rlft.types import EnvSpec
from tests.support.hand_made import REPO, is_sentence
from tests.support.warm import Warm, run_module

pytestmark = pytest.mark.maniskill
BOUND = torch.ones(8)
SPEC = EnvSpec("PickCube-v1", 42, 8, -BOUND, BOUND, 50, "panda", "pd_joint_delta_pos", "normalized_dense")


def record(folder, **settings):
    """Two episodes of four steps of random actions, as ManiSkill's own wrapper writes them."""
    allow_no_renderer()
    import mani_skill.envs  # noqa: F401
    from mani_skill.utils.wrappers import RecordEpisode

    settings = {"obs_mode": "state", "control_mode": "pd_joint_delta_pos", **settings}
    env = gymnasium.make("PickCube-v1", sim_backend="physx_cpu", render_backend="none", **settings)
    env = RecordEpisode(env, str(folder), trajectory_name="some demos", save_video=False, source_type="rl")
    for seed in (3, 4):
        env.reset(seed=seed)
        for _ in range(4):
            env.step(0.2 * env.action_space.sample())
    env.close()
    return folder / "some demos.h5"


def refusal(path, **modes):
    """The sentence with which the file is refused, and the command in it."""
    with pytest.raises(UserError) as refused:
        read_trajectories(path, SPEC, **{"control_mode": "pd_joint_delta_pos", "reward_mode": "sparse", **modes})
    assert is_sentence(str(refused.value))
    return re.search("`(.*)`", str(refused.value))[1]


def paste(command):
    """Runs a command line as a person would paste it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPO)}
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, env=environment
    )


def run(command):
    """What such a line of `python -m` does, in a process that has much imported: exit status, stdout and stderr."""
    python, option, module, *arguments = shlex.split(command)
    assert (python, option) == ("python", "-m")
    process = Warm(run_module, module, arguments)
    output, errors = process.communicate()
    return process.returncode, output, errors


CASES = {  # how the file was recorded, and how it is to be read
    "observations in parts": ({"obs_mode": "state_dict"}, {}),
    "no observations": ({"obs_mode": "none"}, {}),
    "another reward": ({"reward_mode": "sparse"}, {"reward_mode": "dense"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_recommended_replay_makes_a_file_that_is_read(case, tmp_path):
    recorded, asked = CASES[case]
    path = record(tmp_path / "a folder", **recorded)
    status, output, errors = run(refusal(path, **asked))
    assert (status, output.splitlines()[-1][-17:]) == (0, ": 2 of 2 episodes"), errors[-2000:]
    replayed = path.with_name("some demos-replayed.h5")
    rollout = read_trajectories(replayed, SPEC, "pd_joint_delta_pos", asked.get("reward_mode", "sparse"))
    assert len(rollout) == 8
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(
        name + end for name in ("some demos", "some demos-replayed") for end in (".h5", ".json")
    )


def test_a_recommended_conversion_says_what_it_left_out_and_how_to_keep_it(tmp_path):
    """Random actions do not succeed, and ManiSkill keeps what does."""
    path = record(tmp_path, control_mode="pd_joint_pos")
    command = refusal(path)
    status, _, errors = run(command)
    assert status == 1
    assert "--allow-failure keeps the others" in errors.splitlines()[-1]
    assert paste(f"{command} --allow-failure").returncode == 0
    rollout = read_trajectories(path.with_name("some demos-replayed.h5"), SPEC, "pd_joint_delta_pos", "sparse")
    assert rollout.truncated.sum() == 2


def test_replaying_into_what_is_there_is_refused(tmp_path):
    path = record(tmp_path)
    status, _, errors = run(f"python -m rlft.envs.maniskill.replay '{path}' '{path}' -o state")
    assert status == 1
    assert is_sentence(errors.splitlines()[-1])
    assert "cannot be written" in errors


LACKING = [
    ("PickSingleYCB-v1", None),
    ("ReplicaCAD_SceneManipulation-v1", None),  # registered without the assets it needs
    ("UnitreeH1Stand-v1", None),  # its robot is not here
    ("PickCube-v1", "ur_10e"),
]


@pytest.mark.parametrize(("task", "robot"), LACKING)
def test_a_recommended_asset_is_one_that_maniskill_can_fetch(task, robot):
    registered(task)
    from mani_skill.utils.assets import DATA_GROUPS, DATA_SOURCES

    with pytest.raises(UserError, match="not on this machine; fetch them with") as refused:
        ManiSkill(task, control_mode=None, robot=robot, device="cpu").make(1)
    asset = re.search(r"`python -m mani_skill.utils.download_asset (\S+)`", str(refused.value))[1]
    assert asset in DATA_SOURCES or DATA_GROUPS[asset]
