"""`rlft doctor` says what works here, and what each missing piece would add."""

import pytest

from rlft.cli import main
from rlft.commands.doctor import doctor
from rlft.envs.maniskill.drawing import NO_DEVICE, NoDevice
from tests.support.drawing import can_draw


@pytest.mark.maniskill
def test_it_finds_what_is_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    found = {finding.piece: finding for finding in doctor(str(tmp_path / "logs"))}
    assert found["simulator"].works
    assert "env steps per second" in found["simulator"].told
    assert found["drawing"].works == can_draw()
    assert not (tmp_path / "logs").exists()
    printed = capsys.readouterr().out
    assert all(finding.told in printed for finding in found.values())  # "[ray]" is no markup


@pytest.mark.maniskill
def test_where_nothing_can_be_trained_the_status_says_so(tmp_path, monkeypatch, capsys):
    def nothing():
        raise NoDevice(NO_DEVICE)

    monkeypatch.setattr("rlft.commands.doctor.drawing_device", nothing)
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--log_dir", str(tmp_path / "file")]) == 1
    said = capsys.readouterr()
    assert "rlft: Nothing can be trained here: " in said.err
    assert "apt-get install chromium" in said.out
