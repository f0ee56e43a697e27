import pytest

from rlft.episode_log import FILE, Episodes, add, last

START = Episodes("eval/success_rate", 0, "PickCube-v1, seed 5", (False, True, False))
END = Episodes("eval/success_rate", 100, "PickCube-v1, seed 5", (True, True, False))
SAMPLED = Episodes("eval_stochastic/success_rate", 0, "PickCube-v1, seed 5", (True, False, False))


def test_the_last_evaluation_of_each_metric_counts(tmp_path):
    for episodes in (START, SAMPLED, END):
        add(tmp_path, episodes)
    assert last([tmp_path]) == {"eval/success_rate": END, "eval_stochastic/success_rate": SAMPLED}


def test_a_run_that_goes_on_is_one_run(tmp_path):
    folders = [tmp_path / "version_0", tmp_path / "version_1", tmp_path / "version_2"]
    add(folders[0], START)
    add(folders[1], END)
    assert last(folders) == {"eval/success_rate": END}
    assert last(folders[2:]) == {}


def test_equal_starts_are_the_same_states_in_the_same_number():
    assert START.starts == END.starts
    others = Episodes("eval/success_rate", 0, "PickCube-v1, seed 6", START.success)
    fewer = Episodes("eval/success_rate", 0, START.states, START.success[:2])
    assert len({START.starts, others.starts, fewer.starts}) == 3


@pytest.mark.parametrize(
    "line",
    [
        '{"metric": "eval/success_rate", "step": 100, "states": "PickCu',
        '{"metric": "eval/success_rate", "step": 100, "states": "a", "success": "012"}',
        '{"metric": "eval/success_rate", "step": 100, "states": "a", "success": ""}',
        '{"metric": "eval/success_rate", "step": Infinity, "states": "a", "success": "01"}',
        '{"metric": "eval/success_rate", "step": 100, "success": "01"}',
        "[1, 2]",
        "",
    ],
)
def test_spoiled_lines_are_left_out(tmp_path, line):
    add(tmp_path, START)
    with (tmp_path / FILE).open("a") as file:
        file.write(line + "\n")
    add(tmp_path, SAMPLED)
    assert set(last([tmp_path]).values()) == {START, SAMPLED}
