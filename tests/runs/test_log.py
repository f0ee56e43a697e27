import fcntl
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lightning
import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks import RunReport
from rlft.cli import main
from rlft.runs.log import add_note, add_start, write_page
from rlft.runs.status import read_status, write_status
from tests.support.hand_made import is_sentence
from tests.support.training import data, fit, module, run


def make(folder, name, iterations=2):
    """A run of a few iterations under `folder`."""
    report = RunReport(["fit", "--run_name", name])
    fit(module(), data(), iterations, [report], TensorBoardLogger(folder, name), folder)
    return folder / name


def test_every_run_has_a_line_and_a_part_of_the_page(tmp_path):
    make(tmp_path, "first")
    make(tmp_path, "second", iterations=3)
    lines = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert [line["run"] for line in lines] == ["first/version_0", "second/version_0"]
    assert lines[0]["command"] == "rlft fit --run_name first"
    assert len(lines[0]["commit"]) == 40
    page = (tmp_path / "log.md").read_text()
    first, second = page.index("## first/version_0"), page.index("## second/version_0")
    assert second < first  # the newest on top
    assert [line[:5] for line in page[second:first].splitlines() if line.startswith("| ")] == [
        "| ite",
        "| 0 |",
        "| 1 |",
        "| 2 |",
        "| 3 |",
    ]
    assert "Completed." in page[first:]
    assert "- command: `rlft fit --run_name first`" in page[first:]


def test_making_the_page_again_changes_nothing(tmp_path):
    make(tmp_path, "name")
    before = (tmp_path / "log.md").read_bytes()
    assert write_page(tmp_path).read_bytes() == before
    assert write_page(tmp_path).read_bytes() == before


SPOILED = (
    '{"run": ["a"], "time": "t", "command": "c", "commit": "c", "dirty": false}',
    '{"run": {}, "time": "t", "note": "x"}',
    '{"run": "\\ud800", "time": "t", "command": "c", "commit": "c", "dirty": false}',
)


@pytest.mark.parametrize("line", SPOILED)
def test_lines_of_the_index_that_make_no_sense_end_no_run(tmp_path, line):
    make(tmp_path, "first")
    with (tmp_path / "index.jsonl").open("a") as index:
        index.write(line + "\n")
    make(tmp_path, "second")
    page = (tmp_path / "log.md").read_text()
    assert "## first/version_0" in page
    assert "## second/version_0" in page


def test_a_run_that_was_killed_is_on_the_page_and_may_be_so(tmp_path, capsys):
    """Nothing ends it: the page is of its start, and says when one last heard of it."""

    class Killed(lightning.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            pages.append((tmp_path / "log.md").read_text())

    pages = []
    report = RunReport()
    fit(module(), data(), 1, [report, Killed()], TensorBoardLogger(tmp_path, "name"), tmp_path)
    assert pages[0].count("\n| 0 |") == 1
    version = tmp_path / "name/version_0"
    status = read_status(version)
    write_status(version, replace(status, state="running", heard="1971-01-01 00:00:00"))
    assert main(["log", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "log.md")
    page = (tmp_path / "log.md").read_text()
    for shown in (pages[0], page):
        assert "Running, or killed: last heard of at " in shown
    assert "last heard of at 1971-01-01 00:00:00.\n" in page
    assert "Completed." not in page


def test_the_page_is_made_of_the_records_and_not_of_the_report(tmp_path):
    make(tmp_path, "name")
    (tmp_path / "log.md").unlink()
    (tmp_path / "name/version_0/report.md").unlink()
    page = write_page(tmp_path).read_text()
    assert "Completed." in page
    assert page.count("\n| 2 | 160 |") == 1


def test_a_status_that_cannot_be_read_is_said(tmp_path):
    make(tmp_path, "name")
    (tmp_path / "name/version_0/status.json").write_text("{")
    assert "It has no status that can be read." in write_page(tmp_path).read_text()


def test_the_page_of_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["log", str(tmp_path / "nothing")]) == 1
    assert is_sentence(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_pages_that_are_made_at_once_wait_for_each_other(tmp_path):
    """While somebody makes the page, another one waits, and then knows what was added meanwhile."""
    make(tmp_path, "first")
    with ThreadPoolExecutor(1) as pool, (tmp_path / "index.jsonl").open() as index:
        fcntl.flock(index, fcntl.LOCK_EX)
        page = pool.submit(write_page, tmp_path)
        with pytest.raises(TimeoutError):
            page.result(timeout=0.3)
        add_start(tmp_path / "second" / "version_0", "rlft fit", "abc", dirty=False)
        fcntl.flock(index, fcntl.LOCK_UN)
        assert "## second/version_0" in page.result(timeout=60).read_text()


def test_a_note_finds_its_run_through_links_and_dots(tmp_path, monkeypatch):
    folder = make(tmp_path / "logs", "first")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    for place in (tmp_path / "link", Path(), Path("../first/version_0")):
        assert f"seen from {place}" in add_note(place, f"seen from {place}").read_text()


def test_a_note_that_is_no_text_is_kept_as_far_as_it_is(tmp_path):
    folder = make(tmp_path, "first")
    assert ": bad ? byte" in add_note(folder, "bad \udcff byte").read_text()


def test_notes_through_the_command_line(tmp_path, capsys):
    folder = run(tmp_path)
    for place in (folder.parent, folder):
        assert main(["note", str(place), f"of {place.name},\n  looks odd"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "log.md")
    page = (tmp_path / "log.md").read_text()
    assert f": of {folder.name}, looks odd\n" in page
    assert f": of {folder.parent.name}, looks odd\n" in page
    assert "command: `rlft fit " in page


def test_a_note_belongs_to_the_newest_version(tmp_path):
    make(tmp_path, "name")
    folder = make(tmp_path, "name")
    add_note(folder, "which one?")
    page = (tmp_path / "log.md").read_text()
    assert page.index("## name/version_1") < page.index("which one?") < page.index("## name/version_0")


def test_a_run_that_was_deleted_stays_in_the_log(tmp_path):
    folder = make(tmp_path, "gone")
    add_note(folder, "useless")
    shutil.rmtree(folder)
    page = write_page(tmp_path).read_text()
    assert "## gone/version_0\n\nIts folder is gone." in page
    assert "useless" in page


@pytest.mark.parametrize("spoiled", ["", "{", "[1]", '{"run": "name/version_0"}', "\x00\xff"])
def test_a_spoiled_line_is_passed_over(tmp_path, spoiled):
    version = tmp_path / "name/version_0"
    add_start(version, "rlft fit", "0" * 40, dirty=True)
    with (tmp_path / "index.jsonl").open("a") as file:
        file.write(spoiled + "\n")
    version.mkdir(parents=True)
    page = add_note(version, "still there").read_text()
    assert "still there" in page
    assert f"commit: {'0' * 40} with uncommitted changes" in page


def test_what_cannot_be_noted(tmp_path, capsys):
    folder = make(tmp_path, "name")
    for arguments in ([str(tmp_path / "nothing"), "text"], [str(folder), "  "], [str(tmp_path), "text"]):
        before = (tmp_path / "index.jsonl").read_bytes()
        assert main(["note", *arguments]) == 1
        assert is_sentence(capsys.readouterr().err)
        assert (tmp_path / "index.jsonl").read_bytes() == before


def test_a_run_that_fails_is_in_the_log(tmp_path):
    class Fails(RunReport):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fit(module(), data(), 3, [Fails()], TensorBoardLogger(tmp_path, "name"), tmp_path)
    assert "Ended early: RuntimeError power cut" in (tmp_path / "log.md").read_text()
