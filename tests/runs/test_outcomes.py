from dataclasses import replace

import pytest

from rlft.runs.outcomes import FILE, Episodes, add, read

START = Episodes("eval/success_rate", 0, "PickCube-v1, seed 5", (False, True, False))
END = Episodes("eval/success_rate", 100, "PickCube-v1, seed 5", (True, True, False))
SAMPLED = Episodes("eval_stochastic/success_rate", 0, "PickCube-v1, seed 5", (True, False, False))


TOLD = Episodes("eval/success_rate", 100, "Lift, seed 5", (True, False), {"max_z": (0.0812345, 0.01), "held": (10, 0)})


def keyed(*evaluations):
    return {(episodes.metric, episodes.step): episodes for episodes in evaluations}


def test_evaluations_by_metric_and_step(tmp_path):
    for episodes in (START, SAMPLED, END):
        add(tmp_path, episodes)
    assert read([tmp_path]) == keyed(START, SAMPLED, END)


def test_what_a_task_tells_of_each_episode(tmp_path):
    for episodes in (START, TOLD):
        add(tmp_path, episodes)
    assert read([tmp_path]) == keyed(START, TOLD)
    assert "behaviour" not in (tmp_path / FILE).read_text().splitlines()[0]  # as earlier versions wrote it


def test_a_run_that_goes_on_is_one_run_and_what_it_did_again_counts(tmp_path):
    folders = [tmp_path / "version_0", tmp_path / "version_1", tmp_path / "version_2"]
    add(folders[0], START)
    add(folders[0], replace(END, success=(False, False, False)))
    add(folders[1], END)
    assert read(folders) == keyed(START, END)
    assert read(folders[2:]) == {}


def test_equal_starts_are_the_same_states_in_the_same_number():
    assert START.starts == END.starts
    others, fewer = replace(START, states="PickCube-v1, seed 6"), replace(START, success=START.success[:2])
    assert len({START.starts, others.starts, fewer.starts}) == 3


@pytest.mark.parametrize(
    "line",
    [
        '{"metric": "eval/success_rate", "step": 100, "states": "PickCu',
        '{"metric": "eval/success_rate", "step": 100, "states": "a", "success": "012"}',
        '{"metric": "eval/success_rate", "step": 100, "states": "a", "success": ""}',
        '{"metric": "eval/success_rate", "step": Infinity, "states": "a", "success": "01"}',
        '{"metric": "eval/success_rate", "step": 100, "success": "01"}',
        '{"metric": "eval/success_rate", "step": 100, "states": "a", "success": "01", "behaviour": {"z": [1]}}',
        '{"metric": "eval/success_rate", "step": 100, "states": "a", "success": "01", "behaviour": [1]}',
        "[1, 2]",
        "",
    ],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_spoiled_lines_are_left_out(tmp_path, line, end):
    add(tmp_path, START)
    with (tmp_path / FILE).open("a") as file:
        file.write(line + end)
    add(tmp_path, SAMPLED)
    assert read([tmp_path]) == keyed(START, SAMPLED)
