"""What names say of seeds, and how arguments that look like options are read."""

import re
import shlex

import pytest

from rlft.comparison.run_groups import select
from rlft.comparison.run_names import named
from rlft.errors import UserError
from tests.support.comparison import iterations, write
from tests.support.hand_made import is_sentence

METRIC = "eval/success_rate"


@pytest.mark.parametrize(
    ("name", "stem", "seed"),
    [
        ("gae_ppo-gamma0.8-seed3", "gae_ppo-gamma0.8", 3),
        ("ppo_seed_1", "ppo", 1),
        ("ppo-seed-12", "ppo", 12),
        ("ppo-Seed1", "ppo", 1),
        ("lr=0.001,seed=1", "lr=0.001", 1),
        ("seed=1,lr=0.001", "lr=0.001", 1),
        ("lr=0.001,seed=1,wd=1", "lr=0.001,wd=1", 1),
        ("+seed=1,+lr=0.001", "lr=0.001", 1),
        ("PPO_seed1_lr3e-4", "PPO_lr3e-4", 1),
        ("seed_7", "", 7),
        ("seed=7", "", 7),
        ("PickCube-v1__ppo__3__1721000000", "PickCube-v1__ppo", 3),
        ("PPO_lr=0.001_seed=1_2024-05-01_12-30-00", "PPO_lr=0.001", 1),
        ("PPO_seed1_20240501-123000", "PPO", 1),
        ("PPO_CartPole-v1_1a2b3_00001_1_lr=0.001,seed=1_2024-05-01_12-30-00", "PPO_CartPole-v1_lr=0.001", 1),
        ("env_seed=3,seed=1", "env_seed=3", 1),
        ("PPO_1", "PPO_1", -1),  # Stable-Baselines3 counts runs
        ("3", "3", -1),  # Hydra counts jobs
        ("ppo_s1", "ppo_s1", -1),  # a seed, or a stage
        ("lr=0.001", "lr=0.001", -1),
        ("eval_seed=3", "eval_seed=3", -1),  # not of training
        ("seed1-seed2", "seed1-seed2", -1),  # which one?
        ("seed=1.5", "seed=1.5", -1),
        ("proceed1", "proceed1", -1),
        ("linseed1", "linseed1", -1),
        ("seeded", "seeded", -1),
        ("run-2024-05-01_12-30-00", "run-2024-05-01_12-30-00", -1),  # the time is all that tells it from another
    ],
)
def test_seeds_in_names(name, stem, seed):
    assert named(name) == (stem, seed)


def runs(folder, *names):
    for name in names:
        write(folder / name, iterations([0.1, 0.2]))
    return folder


def labels(*arguments):
    groups = select(list(map(str, arguments)), METRIC).groups
    return {label: sorted(run.seed for run in own) for label, own in groups.items()}


def test_folders_that_are_called_like_options_are_arms_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(runs(tmp_path, "lr=0.001,seed=1", "lr=0.001,seed=2", "seed=1,lr=0.0003"))
    expected = {"lr=0.001": [1, 2], "lr=0.0003": [1]}
    assert labels("*") == labels(".") == labels("./*") == expected
    assert labels("lr=0.001*") == {"lr=0.001": [1, 2]}
    assert labels("lr=0.001,seed=1") == {"lr=0.001": [1]}
    assert labels("slow=lr=0.001*", "fast=*lr=0.0003") == {"slow": [1, 2], "fast": [1]}
    assert labels("lr=0.001=./lr=0.001*") == {"lr=0.001": [1, 2]}


@pytest.mark.parametrize(
    ("names", "argument", "readings"),
    [
        (["lr=0.001,seed=1", "lr=0.0003,seed=1"], "lr=*", [2, 1]),
        (["lr=1", "1"], "lr=1", [1, 1]),
        (["a=b=1", "b=1", "1"], "a=b=*", [1, 1, 1]),
    ],
)
def test_what_can_be_read_in_several_ways_is_refused_and_every_remedy_works(
    tmp_path, monkeypatch, names, argument, readings
):
    monkeypatch.chdir(runs(tmp_path, *names))
    with pytest.raises(UserError, match="can be read in several ways") as refused:
        select([argument], METRIC)
    assert is_sentence(str(refused.value))
    remedies = re.findall(r"'(\S+)' for", str(refused.value))
    assert len(remedies) == len(readings)
    for remedy in remedies:
        assert select([remedy], METRIC).groups
    given = [label for remedy in remedies[1:] for label in labels(remedy)]
    assert given == re.findall(r"the label (\S+?)[.,]?(?: or|$|\s)", str(refused.value).rstrip("."))


def test_a_label_and_a_pattern_somewhere_else_need_no_second_look(tmp_path, monkeypatch):
    monkeypatch.chdir(runs(tmp_path, "lr=1", "other"))
    assert labels(f"lr={tmp_path}/o*") == {"lr": [-1]}
    assert labels(f"{tmp_path}/lr=*") == {"lr=1": [-1]}
    assert labels(f"a/b={tmp_path}/o*") == {"a/b": [-1]}


def test_seeds_in_a_folder_of_their_arm(tmp_path):
    for arm in ("PPO", "SAC"):
        runs(tmp_path / arm, "seed_1", "seed_2")
    assert labels(tmp_path) == {"PPO": [1, 2], "SAC": [1, 2]}
    assert labels(tmp_path / "PPO/seed_1", tmp_path / "PPO/seed_2") == {"PPO": [1, 2]}
    names = [run.name for own in select([str(tmp_path)], METRIC).groups.values() for run in own]
    assert names == ["PPO/seed_1", "PPO/seed_2", "SAC/seed_1", "SAC/seed_2"]


@pytest.mark.parametrize("names", [("PPO_1", "PPO_2", "PPO_10"), ("ppo_s0", "ppo_s1"), ("0", "1")])
def test_numbers_that_may_be_seeds_are_said_and_the_remedy_works(tmp_path, names):
    selection = select([str(runs(tmp_path / "my logs", *names))], METRIC)
    assert sorted(len(own) for own in selection.groups.values()) == [1] * len(names)
    (note,) = (note for note in selection.notes if "need be no seed" in note)
    assert is_sentence(note)
    said = shlex.split(note.partition("label (")[2].removesuffix(").").removesuffix(" ..."))
    assert list(labels(*said).values()) == [[-1, -1]]


def test_names_that_differ_in_more_than_a_last_number_are_arms_without_a_word(tmp_path):
    names = ("lr=1", "lr=2", "gamma0.8", "gamma0.99", "Ant-v3", "Ant-v4")
    (note,) = select([str(runs(tmp_path, *names))], METRIC).notes
    assert note.startswith("Told apart by the names")


def test_an_arm_does_not_join_a_label_of_its_name(tmp_path):
    runs(tmp_path / "a", "PPO_seed1")
    runs(tmp_path / "b", "PPO_seed2")
    assert labels(f"PPO={tmp_path}/a/*", f"{tmp_path}/b/*") == {"PPO": [1], "PPO (2)": [2]}


def test_the_parts_of_one_log_are_one_run(tmp_path):
    """Keras and others keep training and validation in folders of their own."""
    for seed in (1, 2):
        write(tmp_path / f"exp_seed{seed}/train", {"loss": {0: 3.0}})
        write(tmp_path / f"exp_seed{seed}/validation", {"loss": {0: 2.0}, METRIC: {0: 0.5}})
    assert labels(tmp_path) == {"exp": [1, 2]}
    groups = select([str(tmp_path)], "train/loss").groups
    assert [run.series("train/loss")[1].tolist() for run in groups["exp"]] == [[3.0], [3.0]]
