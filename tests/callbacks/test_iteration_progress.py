"""What a run prints while it runs, where nothing is a terminal."""

import re

from tests.support.training import run

ITERATION = re.compile(
    r"iteration \d/\d(  [\d,]+ env steps  [\d,]+ env steps/s)?  success \d+\.\d% \[\d+, \d+\]  \d+ s"
)


def printed(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("iteration")]


def test_a_line_per_iteration_and_nothing_that_says_nothing(tmp_path, capsys):
    run(tmp_path, "--trainer.max_epochs=2")
    lines = printed(capsys)
    assert [line.split("  ")[0] for line in lines] == ["iteration 0/2", "iteration 1/2", "iteration 2/2"]
    assert all(ITERATION.fullmatch(line) for line in lines)
    assert "env steps" not in lines[0]


def test_a_long_iteration_says_what_it_is_at(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rlft.callbacks.iteration_progress.PATIENCE", 0.0)
    monkeypatch.setattr("rlft.callbacks.iteration_progress.EVERY", 1)
    run(tmp_path, "--trainer.max_epochs=2")
    collecting, *learning, evaluating, end = (line for line in printed(capsys) if line.startswith("iteration 2/2"))
    assert re.fullmatch(r"iteration 2/2  collecting  \d+ s", collecting)
    shares = [int(re.fullmatch(r"iteration 2/2  learning (\d+)%  \d+ s", line)[1]) for line in learning]
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < 100
    assert re.fullmatch(r"iteration 2/2  evaluating  \d+ s", evaluating)
    assert ITERATION.fullmatch(end)
