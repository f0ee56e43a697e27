"""What a policy was made for: recorded by its environment, compared where it is used."""

import dataclasses
import json

import pytest
import torch

from rlft.envs import ManiSkill, PointReach
from rlft.errors import UserError
from rlft.types import EnvSpec, mismatches, seen_with, unrecorded
from tests.support.hand_made import is_sentence

BOUND = torch.ones(8)
SPEC = EnvSpec("PickCube-v1", 42, 8, -BOUND, BOUND, 50, "panda", "pd_joint_delta_pos", "normalized_dense")
HERE = ManiSkill(task_options={"robot_init_qpos_noise": 0.1}).describe(SPEC)


def test_an_environment_says_what_a_file_is_to_record():
    assert HERE == {
        "task": "PickCube-v1",
        "robot": "panda",
        "control_mode": "pd_joint_delta_pos",
        "reward_mode": "sparse",
        "task_options": {"robot_init_qpos_noise": 0.1},
        "max_episode_steps": 50,
        "obs_dim": 42,
        "action_dim": 8,
        "image": None,
        "choices": None,
    }
    assert PointReach().describe(PointReach().make(1).spec)["task"] == "PointReach"


def test_pictures_are_recorded_where_there_are_any():
    env = ManiSkill(robot="panda", max_episode_steps=50, obs="rgb", image_size=32, zoom=2.0, meshes="collision")
    spec = dataclasses.replace(SPEC, obs_dim=29, privileged_dim=42, image=(3, 32, 32))
    described = env.describe(spec)
    assert {name: described[name] for name in ("obs", "zoom", "meshes", "image")} == {
        "obs": "rgb",
        "zoom": 2.0,
        "meshes": "collision",
        "image": [3, 32, 32],
    }
    assert ManiSkill.of_policy(described) == env
    pushing = ManiSkill.of_policy(described, task="PushCube-v1")  # whose time limit is its own
    assert pushing == dataclasses.replace(env, task="PushCube-v1", max_episode_steps=None)
    closer = dataclasses.replace(env, zoom=3.0)
    assert mismatches(closer.describe(spec), described) == ["zoom 2.0 (here 3.0)"]
    assert mismatches(closer.describe(spec), described, accepted=["zoom"]) == []
    assert seen_with(described) == {"zoom": 2.0, "meshes": "collision"}
    states = ManiSkill(robot="panda", max_episode_steps=50)
    pictures = {"obs": "rgb", "image_size": 32, "zoom": 2.0, "meshes": "collision"}
    assert env.data_settings() == {**states.data_settings(), **pictures}
    assert env.without_pictures() == states
    assert env.starts() == states.starts()


@pytest.mark.parametrize(
    "options", [{"obs": "depth"}, {"meshes": "none"}, {"image_size": 4}, {"zoom": 0.0}, {"zoom": float("inf")}], ids=str
)
def test_impossible_pictures_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"data.env.{name} is ") as refused:
        ManiSkill(**options)
    assert is_sentence(str(refused.value))


def test_what_was_recorded_in_a_file_is_what_is_described():
    described = ManiSkill(task_options={"poses": (1, 2)}).describe(SPEC)
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ({}, []),
        ({"control_mode": "pd_joint_pos"}, ["control_mode pd_joint_pos (here pd_joint_delta_pos)"]),
        (
            {"robot": "fetch", "task": "PushCube-v1"},
            ["task PushCube-v1 (here PickCube-v1)", "robot fetch (here panda)"],
        ),
        ({"task_options": {}}, ["task_options {} (here {'robot_init_qpos_noise': 0.1})"]),
        ({"reward_mode": "dense", "max_episode_steps": 100}, []),  # these change with every second use
        ({"control_mode": None}, []),  # an old file whose configuration left it to the task
    ],
)
def test_differences_are_told_field_by_field(recorded, said):
    assert mismatches(HERE, {**HERE, **recorded}) == said
    assert mismatches(HERE, recorded) == said


def test_transfers_that_are_meant_are_accepted_by_name():
    recorded = {**HERE, "robot": "fetch", "control_mode": "pd_joint_pos"}
    assert mismatches(HERE, recorded, accepted=["robot"]) == ["control_mode pd_joint_pos (here pd_joint_delta_pos)"]
    assert mismatches(HERE, recorded, accepted=["robot", "control_mode"]) == []


def test_what_an_old_file_does_not_say_is_listed():
    old = {"task": "PickCube-v1", "control_mode": "pd_joint_delta_pos"}
    assert unrecorded(HERE, old) == ["robot", "task_options", "obs_dim", "action_dim"]
    assert unrecorded(HERE, HERE) == []
    point = PointReach().describe(PointReach().make(1).spec)
    assert unrecorded(point, {"task": "PointReach"}) == ["obs_dim", "action_dim"]  # it has no options


def test_a_policy_is_measured_where_its_file_says():
    recorded = {**HERE, "robot": "fetch", "reward_mode": "dense", "max_episode_steps": 70}
    of = ManiSkill.of_policy(recorded)
    assert of == ManiSkill(
        "PickCube-v1",
        "pd_joint_delta_pos",
        "dense",
        "fetch",
        max_episode_steps=70,
        task_options={"robot_init_qpos_noise": 0.1},
    )
    elsewhere = ManiSkill.of_policy(recorded, "PushCube-v1")
    assert elsewhere == ManiSkill("PushCube-v1", "pd_joint_delta_pos", robot="fetch")
    assert ManiSkill.of_policy({"control_mode": None, "robot": None}) == ManiSkill()


def test_options_belong_to_what_initial_states_depend_on():
    plain, other = ManiSkill(device="cpu"), ManiSkill(device="cpu", task_options={"b": 1, "a": 2})
    assert plain.starts() == "PickCube-v1, robot None, cpu"
    assert other.starts() == 'PickCube-v1, robot None, cpu, options {"a": 2, "b": 1}'
    assert other.starts() == ManiSkill(device="cpu", task_options={"a": 2, "b": 1}).starts()
    assert hash(plain) is not None
    assert ManiSkill(max_episode_steps=9, device="cpu").starts() == plain.starts()
