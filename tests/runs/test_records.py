"""Status and iterations as files: what is written is read, and nothing else is."""

import json
from dataclasses import replace

import pytest

from rlft.runs.iterations import append_iteration, read_iterations, write_iterations
from rlft.runs.prose import iteration_table, what_happened
from rlft.runs.status import Status, read_status, write_status

STATUS = Status("running", ["fit"], "2026-01-01 00:00:00", "2026-01-01 00:10:00", 4, 2, 1, "ab" * 32, {"a.b": None})
RATES = [{"iteration": i, "steps/env": 100 * i, "eval/success_rate": rate} for i, rate in enumerate((0.25, 0.75, 0.5))]


def test_a_status_is_read_as_it_was_written(tmp_path):
    for status in (STATUS, replace(STATUS, state="ended early", reason="x", dirty=True, checkpoint="c")):
        write_status(tmp_path, status)
        assert read_status(tmp_path) == status


@pytest.mark.parametrize(
    "changed",
    [{"state": "done"}, {"done": "2"}, {"done": True}, {"arguments": [1]}, {"settings": []}, {"seed": None},
     {"unknown": 1}, {"format": "rlft-status-9"}],
)  # fmt: skip
def test_a_status_with_something_else_in_it_is_none(tmp_path, changed):
    write_status(tmp_path, STATUS)
    content = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps(content | changed))
    assert read_status(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "null", "[" * 100_000])
def test_what_is_no_status(tmp_path, text):
    assert read_status(tmp_path) is None
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None


def test_rows_grow_by_lines(tmp_path):
    assert read_iterations(tmp_path) == []
    write_iterations(tmp_path, RATES[:1])
    append_iteration(tmp_path, RATES[1])
    append_iteration(tmp_path, RATES[2])
    assert read_iterations(tmp_path) == RATES


@pytest.mark.parametrize("line", ["", "{", "[1]", '{"a": 1}', '{"iteration": "1"}', '{"iteration": 1, "a": "x"}'])
def test_spoiled_rows_are_left_out(tmp_path, line):
    write_iterations(tmp_path, RATES[:1])
    with (tmp_path / "iterations.jsonl").open("a") as file:
        file.write(line)
    append_iteration(tmp_path, RATES[1])
    assert read_iterations(tmp_path) == RATES[:2]


def test_what_happened():
    progress = (
        "Deterministic success went from 25.0% to 50.0% in 200 env steps; the best evaluation was 75.0% (iteration 1)."
    )
    assert what_happened(STATUS, RATES) == f"Running, or killed: last heard of at 2026-01-01 00:10:00. {progress}"
    assert what_happened(replace(STATUS, state="completed"), []) == "Completed."
    ended = replace(STATUS, state="ended early", reason="UserError No room.")
    assert what_happened(ended, RATES[:1]) == (
        "Ended early: UserError No room. Deterministic success of the policy is 25.0%."
    )


def test_a_long_table_shows_its_ends_and_says_what_is_left_out():
    rows = [{"iteration": i, "steps/env": i} for i in range(5001)]
    assert len(iteration_table(rows[:200])) == 202
    lines = iteration_table(rows)
    assert len(lines) == 2 + 200 + 2
    assert [lines[i].split("|")[1].strip() for i in (2, 101, 102, 201)] == ["0", "99", "4901", "5000"]
    assert lines[-1] == "Iterations 100 to 4,900 are left out here; `iterations.jsonl` has all of them."
