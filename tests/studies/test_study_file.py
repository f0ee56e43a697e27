"""What a study's file may say, and the sentence about what it may not."""

import pytest

from rlft.errors import UserError
from rlft.studies.plan import plan, repeats
from rlft.studies.study_file import read_study
from tests.support.hand_made import REPO, is_sentence
from tests.support.studies import planned, written

GOOD = "config: BASE\nseeds: [1]\narms: {a: }\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is no YAML"),
        ("[1, 2]", "must be a mapping"),
        (GOOD + "seed: 1", "no key seed; the keys are name, config"),
        (GOOD + "seeds: [2]", "seeds is there twice"),
        ("config: BASE\nseeds: [1]\narms: {a: , a: }", "a is there twice"),
        ("config: BASE\nseeds: [1]\narms: {a: {option: {b: 1}}}", "no key option; the keys are config, options, grid"),
        ("config: BASE\nseeds: [1]", "has no arms"),
        (GOOD + "options: {x: &x [*x]}", "study.yaml has an alias within what it stands for"),
        ("seeds: [1]\narms: {a: }", "has no config"),
        ("config: nowhere.yaml\nseeds: [1]\narms: {a: }", "nowhere.yaml is no file"),
        ("config: BASE\narms: {a: }", "seeds is None"),
        ("config: BASE\nseeds: [1, 1]\narms: {a: }", "different whole numbers"),
        ("config: BASE\nseeds: [true]\narms: {a: }", "different whole numbers"),
        ("config: BASE\nseeds: 3\narms: {a: }", "different whole numbers"),
        (GOOD + "grid: {x: []}", "grid: x is []"),
        (GOOD + "grid: {x: 3}", "grid: x is 3"),
        (GOOD + "grid: {seed_everything: [3]}", "no option to vary"),
        (GOOD + "options: {run_name: b}", "run_name is no option here"),
        (GOOD + "options: {seed_everything: 3}", "the seeds of the study decide"),
        (GOOD + "name: a/b", "a/b is no name"),
        ("config: BASE\nseeds: [1]\narms: {seed: }", "except seed, task, here"),
        (GOOD + "prepare: {a: {config: BASE}}", "a is the name of a preparation and of an arm"),
        (GOOD + "prepare: {p: {command: fit}}", "p has no config"),
        (GOOD + "prepare: {p: {command: validate}}", "command is validate"),
        (GOOD + "prepare: {p: {command: collect, config: BASE}}", "collect has neither"),
        (GOOD + "prepare: {p: {config: BASE}}", "no arm needs preparation p"),
        (GOOD + "options: {x: '{b}/best'}", "refers to {b}, which is not there"),
        (GOOD + "options: {x: '{here}/best'}", "refers to {here}"),
        ("config: BASE\nseeds: [1]\narms: {a: {options: {x: '{b}'}}, b: {options: {x: '{a}'}}}", "in a circle"),
        ("config: BASE\nseeds: [1]\narms: {a: {options: {x: '{a}'}}}", "in a circle: a -> a"),
        (GOOD + "prepare: {p: {config: BASE, for_each: x}}\noptions: {x: '{p}'}", "it has no x itself"),
        (GOOD + "prepare: {p: {config: BASE, for_each: x}}\noptions: {x: '{p}'}", "study.yaml: arm a needs {p}"),
        (GOOD + "grid: {x: [1, 1]}", "a value that is there twice"),
        (GOOD + "grid: {x: [1e-4, 0.0001]}", "a value that is there twice: 1e-4 and 0.0001."),
        (GOOD + "grid: {x: [1, 1.0]}", "a value that is there twice: 1 and 1.0."),
        (GOOD + "grid: {x: [true, 'True']}", "a value that is there twice: True and True."),
        (GOOD + "grid: {x: [[1, 2], '[1.0, 2]']}", "a value that is there twice"),
        (GOOD + "grid: {x: [p/q, p_q]}", "two different runs would be called a-x_p_q-seed1"),
        (GOOD + "tasks: {s: {x: 1}, t: {y: 1}}", "tasks: t and s do not have the same values; x is in one of them"),
        (GOOD + "tasks: {s: {a: 1}}", "a is the name of an arm or a preparation and of a value of tasks"),
        (GOOD + "tasks: {s: {seed: 1}}", "except seed, task, here"),
        (GOOD + "tasks: {s: 3}", "tasks: s is 3; it must be a mapping"),
        (GOOD + "options: {x: '{task}'}", "refers to {task}, which is not there"),
        (GOOD + "expert: x/y", "it names one policy, in a study with tasks"),
        (GOOD + "expert: '{x}/y'\ntasks: {s: }", "with no other placeholders than {task}"),
        (GOOD + "prepare: {p: {config: BASE, for_each: task}}\noptions: {x: '{p}'}", "it has no task itself"),
        (
            "config: BASE\nseeds: [1]\narms: {a: {grid: {x: [1]}}, b: {grid: {x: [2]}, options: {y: '{a}'}}}",
            "which is not in the grid of arm a",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, text, says):
    with pytest.raises(UserError) as error:
        planned(tmp_path, text)
    assert says in str(error.value)
    assert is_sentence(str(error.value))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"There is no study .*nowhere.yaml; `rlft configs` lists"):
        read_study(tmp_path / "nowhere.yaml")


def test_yaml_makes_no_objects(tmp_path):
    with pytest.raises(UserError, match="is no YAML"):
        read_study(written(tmp_path, "name: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize("path", sorted((REPO / "configs/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_ours_can_be_planned(path, monkeypatch):
    monkeypatch.chdir(REPO)
    assert plan(read_study(path))


def test_values_that_are_not_the_same_are_two_runs(tmp_path):
    names = planned(tmp_path, GOOD + "grid: {x: [1, true, one, null, 1e-5, 1e-4, 0.001]}")
    assert len(names) == 7


def test_an_order_of_options_that_matters_makes_other_runs(tmp_path):
    """A class that is named after its arguments takes them back."""
    arms = "{a: {options: {x: A, x.b: 1}}, c: {options: {x.b: 1, x: A}}}"
    assert len(planned(tmp_path, f"config: BASE\nseeds: [1]\narms: {arms}")) == 2


def test_what_an_arm_needs_may_be_spelt_in_another_way(tmp_path):
    arms = "{a: {grid: {x: [0.0001]}}, b: {grid: {x: [1e-4]}, options: {y: '{a}'}}}"
    runs = planned(tmp_path, f"config: BASE\nseeds: [1]\narms: {arms}")
    assert runs["b-x_1e-4-seed1"].needs == ("a-x0.0001-seed1",)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("arms: {a: {options: {x: 1e-4, y: 2}}, b: {options: {y: 2.0, x: 0.0001}}}", [("a", "b")]),
        ("options: {x: 1}\narms: {a: {options: {x: 0.2}}, b: {grid: {x: [0.1, 2e-1]}}}", [("a", "b-x_2e-1")]),
        ("arms: {a: {grid: {x: [1]}}, b: {grid: {x: [1.0]}, options: {y: 3}}}", []),
        (
            "arms: {a: {grid: {x: [1]}}, b: {grid: {x: [1.0]}, options: {y: 3}}}\n"
            "prepare: {p: {config: BASE, for_each: x}}\noptions: {z: '{p}'}",
            [("p-x1", "p-x1.0")],
        ),
    ],
)
def test_runs_that_are_made_twice_are_said(tmp_path, text, pairs):
    runs = planned(tmp_path, f"config: BASE\nseeds: [1, 2]\n{text}").values()
    assert repeats(list(runs)) == [
        f"{one} and {other} are the same in all that is set; their runs are made twice, unless one of them is left out."
        for one, other in pairs
    ]
