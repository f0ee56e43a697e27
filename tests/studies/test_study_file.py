"""What a study's file may say, and the sentence about what it may not."""

import pytest

from rlft.errors import UserError
from rlft.studies.plan import plan
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
        ("config: BASE\nseeds: [1]\narms: {seed: }", "except seed and here"),
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
        (GOOD + "grid: {x: [p/q, p_q]}", "two different runs would be called a-x_p_q-seed1"),
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
    with pytest.raises(UserError, match="No such file"):
        read_study(tmp_path / "nowhere.yaml")


def test_yaml_makes_no_objects(tmp_path):
    with pytest.raises(UserError, match="is no YAML"):
        read_study(written(tmp_path, "name: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize("path", sorted((REPO / "configs/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_ours_can_be_planned(path, monkeypatch):
    monkeypatch.chdir(REPO)
    assert plan(read_study(path))
