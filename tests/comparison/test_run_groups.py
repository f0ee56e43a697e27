"""Which runs are compared as one."""

import json
import math

import pytest

from rlft.comparison.run_groups import select
from rlft.errors import UserError
from tests.support.comparison import iterations, run_folder, write
from tests.support.hand_made import is_sentence

METRIC = "eval/success_rate"


@pytest.fixture
def logs(tmp_path):
    for gamma in ("0.8", "0.99"):
        for seed in (1, 2):
            run_folder(tmp_path, f"weak-gae_ppo-gamma{gamma}-100x50-seed{seed}", [0.1, 0.2])
    return tmp_path


def study(logs, name="study", status="completed"):
    """Two arms and a preparation."""
    names = {"prepare": (True, "completed"), "a-1": (False, "completed"), "b-1": (False, status)}
    entries = [
        {"arm": run[0], "seed": 5, "run": run, "preparation": preparation, "status": how}
        for run, (preparation, how) in names.items()
    ]
    for run in names:
        run_folder(logs / name, run, [0.1, 0.2])
    (logs / name / "study.json").write_text(json.dumps({"name": name, "runs": entries}))
    return logs / name


def labels(*arguments):
    return {
        label: [run.seed for run in runs] for label, runs in select(list(map(str, arguments)), METRIC).groups.items()
    }


def test_runs_that_differ_in_the_seed_alone_are_one_group(logs):
    assert labels(*sorted(logs.iterdir())) == {"gamma0.8": [1, 2], "gamma0.99": [1, 2]}
    assert labels(logs) == {"gamma0.8": [1, 2], "gamma0.99": [1, 2]}
    assert labels(f"{logs}/*") == {"gamma0.8": [1, 2], "gamma0.99": [1, 2]}


def test_a_single_group_keeps_its_name(logs):
    assert labels(f"{logs}/*-gamma0.8-*") == {"weak-gae_ppo-gamma0.8-100x50": [1, 2]}


def test_names_that_would_lose_everything_stay_whole(tmp_path):
    for name in ("weak-ppo", "weak-ppo-k5"):
        run_folder(tmp_path, name, [0.1, 0.2])
    assert labels(tmp_path) == {"weak-ppo": [-1], "weak-ppo-k5": [-1]}


def test_a_folder_of_another_tool_is_as_many_runs_as_it_holds(tmp_path):
    """Merged, they would pass for one run, and the last written would win."""
    for seed in (1, 2):
        write(tmp_path / f"runs/PickCube-v1__ppo__{seed}__1700000000", iterations([0.1, 0.2]))
        write(tmp_path / f"runs/{seed}/tensorboard", iterations([0.1, 0.2]))
    assert labels(tmp_path / "runs") == {"1": [-1], "2": [-1], "PickCube-v1__ppo": [1, 2]}
    assert labels(tmp_path) == labels(tmp_path / "runs")
    assert labels(tmp_path / "runs/1") == {"1": [-1]}
    (tmp_path / "runs/latest").symlink_to(tmp_path)  # neither twice nor for ever
    assert labels(tmp_path) == labels(tmp_path / "runs") == {"1": [-1], "2": [-1], "PickCube-v1__ppo": [1, 2]}


def test_a_single_run_of_another_tool_is_known_by_its_own_name(tmp_path):
    write(tmp_path / "runs/PickCube-v1__ppo__3__1700000000", iterations([0.1, 0.2]))
    assert labels(tmp_path / "runs") == {"PickCube-v1__ppo": [3]}


def test_names_of_other_tools_are_shortened_at_their_own_seams(tmp_path):
    for script in ("ppo", "sac"):
        write(tmp_path / f"PickCube-v1__{script}__1__1700000000", iterations([0.1, 0.2]))
    assert labels(tmp_path) == {"ppo": [1], "sac": [1]}


def test_runs_of_other_folders_are_no_other_seeds(tmp_path):
    for place in ("p1", "p2"):
        run_folder(tmp_path / place, f"ppo-seed{place[1]}", [0.1, 0.2])
        write(tmp_path / place / "tensorboard", iterations([0.1, 0.2]))
    assert labels(tmp_path / "p1/ppo-seed1", tmp_path / "p2/ppo-seed2") == {"p1/ppo": [1], "p2/ppo": [2]}
    assert labels(*tmp_path.glob("p?/tensorboard")) == {"p1/tensorboard": [-1], "p2/tensorboard": [-1]}
    together = labels(f"ppo={tmp_path / 'p?' / 'ppo-*'}")
    assert {label: sorted(seeds) for label, seeds in together.items()} == {"ppo": [1, 2]}  # said so


def test_an_arm_of_a_study_is_not_joined_by_a_run_of_its_name(logs):
    run_folder(logs, "a-seed2", [0.1, 0.2])
    assert labels(study(logs), logs / "a-seed2") == {"study: a": [5], "study: b": [5], "a": [2]}


def test_studies_in_a_folder(logs):
    for name in ("one", "two"):
        study(logs, name)
    assert labels(logs)["one: a"] == [5]
    assert labels(logs)["gamma0.8"] == [1, 2]


def test_labelled_patterns(logs):
    assert labels(f"low={logs}/*-gamma0.8-*", f"all={logs}/*") == {
        "low": [1, 2],
        "all": [1, 2, 1, 2],
    }


def test_a_run_that_two_patterns_match_counts_once(logs):
    assert labels(f"a={logs}/*-seed1", f"a={logs}/*gamma0.8*") == {"a": [1, 1, 2]}


def test_a_seed_twice_in_a_group_is_said(logs):
    (note,) = select([f"a={logs}/*-seed1"], METRIC).notes
    assert note.startswith("a holds seed 1 more than once")


def test_the_arms_of_a_study(logs):
    assert labels(study(logs)) == {"a": [5], "b": [5]}


def test_runs_of_a_study_that_are_not_completed_are_left_out_and_named(logs):
    selection = select([str(study(logs, status="failed"))], METRIC)
    assert list(selection.groups) == ["a"]
    assert selection.notes == ["Left out: b, failed, of seed 5."]


def test_several_studies_do_not_mix(logs):
    assert set(labels(study(logs, "one"), study(logs, "two"))) == {"one: a", "one: b", "two: a", "two: b"}
    assert set(labels(f"new={logs / 'one'}")) == {"new: a", "new: b"}


def test_half_written_logs_are_named(logs):
    (path,) = (logs / "weak-gae_ppo-gamma0.8-100x50-seed2").rglob("*.tfevents.*")
    path.write_bytes(path.read_bytes()[:-3])
    (note,) = select([str(logs)], METRIC).notes
    assert "of weak-gae_ppo-gamma0.8-100x50-seed2 are damaged or half-written" in note


def test_runs_that_have_nothing_to_compare_are_left_out_of_folders_and_patterns(logs):
    """A run that has just begun, or pretrained a critic, does not keep the others from being compared."""
    write(logs / "begun-seed1/version_0", {})
    write(logs / "critic-seed1/version_0", {"losses/value_loss": {0: 1.0}})
    write(logs / "odd-seed1/version_0", {METRIC: {0: math.nan}})
    for argument in (str(logs), f"{logs}/*"):
        selection = select([argument], METRIC)
        assert selection.groups.keys() == {"gamma0.8", "gamma0.99"}
        assert sum(map(len, selection.groups.values())) == 4
        begun, critic, odd = selection.notes
        assert begun.startswith("Left out: No scalars can be read in")
        assert critic == f"Left out: critic-seed1 has no {METRIC}; it has losses/value_loss."
        assert odd == f"Left out: odd-seed1 has no {METRIC} that is a number."
    for name in ("begun-seed1", "critic-seed1", "odd-seed1"):
        with pytest.raises(UserError):
            select([str(logs), str(logs / name)], METRIC)
    with pytest.raises(UserError, match=r"^Left out: critic-seed1 has no .*; it has losses/value_loss\.$"):
        select([f"{logs}/crit*"], METRIC)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("label=", "There is no run ''"),
        ("{logs}/nowhere", "There is no run"),
        ("{logs}/*nothing*", "There is no run"),
        ("label={logs}/nowhere", "There is no run '{logs}/nowhere'"),
        ("{logs}/file", "There is no run"),
        ("{logs}/empty", "holds no TensorBoard event files"),
        ("{logs}/broken", "is not the record of a study"),
        ("{logs}/other", "is not the record of a study: KeyError 'runs'"),
        ("{logs}/begun", "is completed"),
    ],
)
def test_mistakes(logs, argument, message):
    (logs / "file").touch()
    for name, text in {"empty": None, "broken": "{", "other": "{}", "begun": '{"runs": []}'}.items():
        (logs / name).mkdir()
        if text is not None:
            (logs / name / "study.json").write_text(text)
    with pytest.raises(UserError) as raised:
        select([argument.format(logs=logs)], METRIC)
    assert message.format(logs=logs) in str(raised.value)
    assert is_sentence(str(raised.value))
