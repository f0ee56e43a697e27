import dataclasses
import json
import random

import h5py
import numpy as np
import pytest
import torch

from rlft.errors import UserError
from rlft.trajectories import check_output, read_header, read_trajectories, writing_trajectories
from rlft.types import EnvSpec, Obs, Rollout
from tests.support.hand_made import is_sentence
from tests.support.rollouts import assert_equal

BOUND = torch.ones(2)
SPEC = EnvSpec("Reach-v1", 3, 2, -BOUND, BOUND, 6, robot="panda")
MODES = {"control_mode": "pd_joint_delta_pos", "reward_mode": "dense"}
LENGTHS = (4, 6, 1)  # of three episodes: terminated, truncated, terminated


def episode(length, number=0, terminated=True, sampled=True):
    """Noise; actions beyond the bounds; ends by termination or else by truncation."""
    generator = torch.Generator().manual_seed(number)
    obs = torch.randn(length + 1, 3, generator=generator)
    last = torch.arange(length) == length - 1
    return Rollout(
        obs=Obs(obs[:-1]),
        action=2 * torch.randn(length, 2, generator=generator),
        log_prob=torch.randn(length, generator=generator),
        log_prob_known=torch.full((length,), sampled),
        next_obs=Obs(obs[1:]),
        reward=torch.randn(length, generator=generator),
        terminated=last & terminated,
        truncated=last & (not terminated),
        success=last & terminated,
        elapsed=torch.arange(length),
    )


EPISODES = [episode(length, i, terminated=i != 1) for i, length in enumerate(LENGTHS)]


def write(path, episodes=EPISODES, **info):
    with writing_trajectories(path, SPEC, MODES, {"source_type": "rl"}) as writer:
        for i, steps in enumerate(episodes):
            states = {"actors": {"cube": np.full((len(steps) + 1, 13), i, dtype=np.float32)}}
            writer.add(i, steps, states, {"control_mode": MODES["control_mode"], **info})
    return path


def read(path, spec=SPEC, **modes):
    return read_trajectories(path, spec, **{**MODES, **modes})


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "demos.h5")


def edit(path, function, name="traj_1"):
    """Changes a group of the h5 file."""
    with h5py.File(path, "r+") as file:
        function(file[name] if name else file)


def put(group, **entries):
    """Replaces entries; `None` removes one."""
    for name, value in entries.items():
        if name in group:
            del group[name]
        if value is not None:
            group[name] = value


def edit_json(path, function):
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text())
    beside.write_text(json.dumps(function(content) or content))


# ---- round trip --------------------------------------------------------------------------------------------------


def test_reading_what_was_written_changes_no_bit(path):
    rollout = read(path)
    expected = Rollout.cat(EPISODES)
    assert rollout.obs.state.shape == (11, 1, 3)
    assert_equal(rollout[:, 0], expected)
    assert rollout.done.flatten().nonzero().flatten().tolist() == [3, 9, 10]


def test_the_file_has_what_maniskill_expects_and_what_was_sampled(path):
    with h5py.File(path) as file:
        group = file["traj_1"]
        assert group["obs"].shape == (7, 3)
        assert torch.equal(torch.from_numpy(group["obs"][-1]), EPISODES[1].next_obs.state[-1])
        assert torch.equal(torch.from_numpy(group["actions"][:]), EPISODES[1].action.clamp(-1, 1))
        assert torch.equal(torch.from_numpy(group["unclipped_actions"][:]), EPISODES[1].action)
        assert group["env_states/actors/cube"].shape == (7, 13)
        assert {group[name].dtype.name for name in ("terminated", "truncated", "success")} == {"bool"}
    header = read_header(path)
    assert header["env_info"] == {"env_id": "Reach-v1", "env_kwargs": MODES, "max_episode_steps": 6}
    assert [(e["episode_id"], e["elapsed_steps"], e["success"]) for e in header["episodes"]] == [
        (0, 4, True),
        (1, 6, False),
        (2, 1, True),
    ]


def test_the_density_of_actions_that_were_not_sampled_is_unknown(tmp_path):
    rollout = read(write(tmp_path / "demos.h5", [episode(4, sampled=False)]))
    assert rollout.log_prob.flatten().tolist() == [0.0] * 4
    assert not rollout.log_prob_known.any()


def interrupt(path):
    with writing_trajectories(path, SPEC, {}, {}) as writer:
        writer.add(0, EPISODES[0], {}, {})
        raise ZeroDivisionError


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new/demos.h5"
    with pytest.raises(ZeroDivisionError):
        interrupt(path)
    assert not list(path.parent.iterdir())
    write(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["demos.h5", "demos.json"]
    before = path.read_bytes()
    spoiled = dataclasses.replace(EPISODES[0], obs=Obs(EPISODES[0].obs.state / 0))
    with pytest.raises(UserError, match="not finite"):
        write(path, [spoiled])
    assert path.read_bytes() == before
    write(path, EPISODES[:1])
    assert len(read(path)) == 4


def test_places_that_cannot_be_written_are_refused(path):
    (path.parent / "file").touch()
    for place, overwrite in (("demos.h5", False), ("demos.hdf5", True), ("file/demos.h5", True)):
        with pytest.raises(UserError) as refused:
            check_output(path.parent / place, overwrite=overwrite)
        assert is_sentence(str(refused.value))
    check_output(path, overwrite=True)
    path.unlink()  # its json is still there
    with pytest.raises(UserError, match=r"demos.json exists"):
        check_output(path, overwrite=False)


# ---- demonstrations ----------------------------------------------------------------------------------------------


def test_without_rewards_they_are_success_minus_failure(path):
    edit(path, lambda group: put(group, rewards=None))
    edit(path, lambda group: put(group, rewards=None, fail=np.array([0, 0, 1, 0, 0, 0], bool)))
    for name in ("traj_0", "traj_2"):
        edit(path, lambda group: put(group, rewards=None), name)
    assert read(path, reward_mode="sparse").reward.flatten().tolist() == [0, 0, 0, 1, 0, 0, -1, 0, 0, 0, 1]


def test_an_episode_is_truncated_where_it_ends_without_termination_whatever_the_flags_say(path):
    flags = np.array([0, 0, 1, 1, 1, 1], bool)  # a demonstration that is longer than the time limit
    edit(path, lambda group: put(group, truncated=flags))
    edit(path, lambda group: put(group, truncated=np.ones(4, bool)), "traj_0")
    rollout = read(path)
    assert rollout.truncated.flatten().nonzero().flatten().tolist() == [9]
    assert rollout.terminated.flatten().nonzero().flatten().tolist() == [3, 10]


def test_an_episode_ends_where_it_first_terminates(path):
    edit(path, lambda group: put(group, terminated=np.array([0, 0, 1, 0, 1, 0], bool)))
    rollout = read(path)
    assert rollout.elapsed.flatten().tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert rollout.terminated.flatten().nonzero().flatten().tolist() == [3, 6, 7]
    assert not rollout.truncated.any()
    assert torch.equal(rollout.next_obs.state[6, 0], EPISODES[1].next_obs.state[2])


def test_actions_are_those_the_environment_got_where_nothing_else_is_known(path):
    for name in ("traj_0", "traj_1", "traj_2"):
        edit(path, lambda group: put(group, unclipped_actions=None, log_prob=None), name)
    rollout = read(path)
    assert torch.equal(rollout.action[:, 0], Rollout.cat(EPISODES).action.clamp(-1, 1))
    assert not rollout.log_prob_known.any()


def test_double_precision_is_read_as_single(path):
    edit(path, lambda group: put(group, obs=group["obs"][:].astype(np.float64)))
    assert read(path).obs.state.dtype == torch.float32


# ---- refusals ----------------------------------------------------------------------------------------------------


def truncate(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def nan_at(group, name):
    values = group[name][:]
    values.flat[1] = np.nan
    put(group, **{name: values})


def dict_obs(group):
    put(group, obs=None)
    group.create_group("obs")["agent"] = np.zeros(7)


def set_env(**entries):
    return lambda path: edit_json(path, lambda content: content["env_info"].update(entries))


def set_episode(**entries):
    return lambda path: edit_json(path, lambda content: content["episodes"][1].update(entries))


def in_h5(**entries):
    return lambda path: edit(path, lambda group: put(group, **entries))


DAMAGES = {  # what is wrong: how it comes about, and what the sentence must mention
    "no h5": (lambda path: path.unlink(), "demos.h5 is no file"),
    "no json": (lambda path: path.with_suffix(".json").unlink(), "demos.json is no file"),
    "empty h5": (lambda path: path.write_bytes(b""), "cannot be read"),
    "foreign h5": (lambda path: path.write_bytes(b"\xff" * 5000), "cannot be read"),
    "half an h5": (truncate, "cannot be read"),
    "most of an h5": (lambda path: truncate(path, 0.99), "cannot be read"),
    "empty json": (lambda path: path.with_suffix(".json").write_bytes(b""), "not valid json"),
    "half a json": (lambda path: truncate(path.with_suffix(".json")), "not valid json"),
    "binary json": (lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe\x00"), "not valid json"),
    "nested json": (lambda path: path.with_suffix(".json").write_text("[" * 100_000), "not valid json"),
    "json list": (lambda path: edit_json(path, lambda _: [1]), "does not describe"),
    "no env_info": (lambda path: edit_json(path, lambda c: c.update(env_info=None)), "does not describe"),
    "no env_kwargs": (set_env(env_kwargs=3), "does not describe"),
    "no list of episodes": (lambda path: edit_json(path, lambda c: c.update(episodes={})), "does not describe"),
    "episode without length": (set_episode(elapsed_steps=None), "does not describe"),
    "no episodes": (lambda path: edit_json(path, lambda c: c.update(episodes=[])), "lists no episodes"),
    "other task": (set_env(env_id="PushCube-v1"), "env_id PushCube-v1, but this environment has Reach-v1"),
    "other control mode": (set_episode(control_mode="pd_joint_pos"), "pd_joint_delta_pos and pd_joint_pos"),
    "other rewards": (set_env(env_kwargs={"reward_mode": "sparse"}), "rewards of mode sparse, but"),
    "unknown rewards": (set_env(env_kwargs={}), "rewards of mode None, but"),
    "other robot": (
        set_env(env_kwargs={**MODES, "robot_uids": ["fetch"]}),
        "robot fetch, but this environment has pan",
    ),
    "no rewards": (in_h5(rewards=None), "--record-rewards --reward-mode dense"),
    "episode not in h5": (lambda path: edit(path, lambda file: put(file, traj_1=None), ""), "disagree .*traj_1"),
    "episode not in json": (
        lambda path: edit_json(path, lambda c: c.update(episodes=c["episodes"][:-1])),
        "disagree .*traj_2",
    ),
    "episode twice": (
        lambda path: edit_json(path, lambda c: c["episodes"].append(c["episodes"][0])),
        "disagree .*one is listed twice",
    ),
    "episode is no group": (lambda path: edit(path, lambda file: put(file, traj_1=3.0), ""), "traj_1 is no group"),
    "other length": (set_episode(elapsed_steps=5), r"obs is float32 \[7, 3\], not float \[6, 3\]"),
    "no step": (set_episode(elapsed_steps=0), "without a step"),
    "absurd length": (set_episode(elapsed_steps=10**30), "obs is"),
    "no obs": (in_h5(obs=None), "no observations; `python -m rlft.envs.maniskill.replay .*-o state --allow-failure"),
    "obs in parts": (lambda path: edit(path, dict_obs), "-o state --allow-failure --use-env-states` makes those"),
    "narrow obs": (in_h5(obs=np.zeros((7, 2), np.float32)), r"\[7, 2\], not float \[7, 3\]"),
    "one obs too few": (in_h5(obs=np.zeros((6, 3), np.float32)), r"\[6, 3\], not float \[7, 3\]"),
    "no actions": (in_h5(actions=None, unclipped_actions=None), "has no actions"),
    "wide actions": (in_h5(unclipped_actions=np.zeros((6, 8), np.float32)), r"\[6, 8\], not float \[6, 2\]"),
    "integer actions": (in_h5(unclipped_actions=np.zeros((6, 2), np.int32)), "int32"),
    "text": (in_h5(obs="text"), "obs is object"),
    "no terminated": (in_h5(terminated=None), "has no terminated"),
    "no truncated": (in_h5(truncated=None), "has no truncated"),
    "terminated of numbers": (in_h5(terminated=np.zeros(6, np.float32)), "not bool"),
    "short success": (in_h5(success=np.zeros(5, bool)), r"success is bool \[5\], not bool \[6\]"),
    "nan in obs": (lambda path: edit(path, lambda group: nan_at(group, "obs")), "obs holds numbers that are not"),
    "nan in actions": (lambda path: edit(path, lambda group: nan_at(group, "unclipped_actions")), "not finite"),
    "nan in rewards": (lambda path: edit(path, lambda group: nan_at(group, "rewards")), "not finite"),
    "overflow": (in_h5(obs=np.full((7, 3), 1e300)), "not finite"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_of_something_else_is_refused_with_a_sentence(damage, path):
    cause, mentioned = DAMAGES[damage]
    cause(path)
    with pytest.raises(UserError, match=mentioned) as refused:
        read(path)
    assert is_sentence(str(refused.value))
    assert str(path.with_suffix("")) in str(refused.value)


SUCCESS = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("max_episode_steps", [3, 50, None])
def test_episodes_of_any_time_limit_are_read(path, max_episode_steps):
    set_env(max_episode_steps=max_episode_steps)(path)
    assert read(path).truncated.flatten().nonzero().flatten().tolist() == [9]


def test_sparse_rewards_are_those_of_success_whatever_was_recorded(path):
    assert read(path, reward_mode="sparse").reward.flatten().tolist() == SUCCESS


def test_rewards_that_name_no_mode_have_the_tasks_default(path):
    set_env(env_kwargs={})(path)
    assert torch.equal(read(path, replace_default("dense")).reward, read_as_recorded(path))
    with pytest.raises(UserError, match="rewards of mode normalized_dense, but this environment has dense"):
        read(path, replace_default("normalized_dense"))


def replace_default(mode):
    return dataclasses.replace(SPEC, default_reward_mode=mode)


def read_as_recorded(path):
    return read(path, reward_mode=None).reward


def test_who_needs_no_rewards_reads_a_file_of_any(path):
    recorded = Rollout.cat(EPISODES).reward
    free = read_trajectories(path, SPEC, reward_mode="normalized_dense", needs_rewards=False)
    assert torch.equal(free.reward[:, 0], recorded)
    for name in ("traj_0", "traj_1", "traj_2"):
        edit(path, lambda group: put(group, rewards=None, success=None), name)
    free = read_trajectories(path, SPEC, reward_mode="normalized_dense", needs_rewards=False)
    assert not free.reward.any()


@pytest.mark.parametrize(("most", "steps"), [(1, 4), (2, 10), (3, 11), (99, 11)])
def test_the_first_episodes_of_a_file_may_do(path, most, steps):
    assert len(read_trajectories(path, SPEC, **MODES, max_episodes=most)) == steps


def test_no_episodes_are_refused(path):
    with pytest.raises(UserError, match="max_episodes is 0; it must be at least 1"):
        read_trajectories(path, SPEC, **MODES, max_episodes=0)


def test_a_control_mode_that_cannot_be_converted_recommends_no_command(path):
    with pytest.raises(UserError) as refused:
        read(path, control_mode="pd_ee_delta_pose")
    assert "ManiSkill cannot convert them, so give the environment theirs" in str(refused.value)
    assert "`" not in str(refused.value)


def test_any_control_mode_is_read_where_the_environment_does_not_say(path):
    assert len(read(path, control_mode=None)) == 11


def test_no_damaged_byte_does_more_than_a_refusal(tmp_path):
    path = write(tmp_path / "demos.h5", EPISODES[:1])
    intact = {file: file.read_bytes() for file in (path, path.with_suffix(".json"))}
    generator, refused, trials = random.Random(0), 0, 300
    for trial in range(trials):
        victim = path if trial % 4 else path.with_suffix(".json")
        content = bytearray(intact[victim])
        for _ in range(generator.choice([1, 1, 1, 8])):
            content[generator.randrange(len(content))] = generator.randrange(256)
        victim.write_bytes(content)
        try:
            assert read(path).obs.state.isfinite().all()
        except UserError as error:
            assert is_sentence(str(error))  # noqa: PT017  most mutations are refused, not all
            refused += 1
        victim.write_bytes(intact[victim])
    assert 0.1 * trials < refused < trials
