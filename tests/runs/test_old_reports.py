"""Runs of older code, which had no status: `tests/fixtures/old_cont` holds some as it left them.

They were made in a folder `old_runs` of the working directory, two iterations each, and continued to four.
"""

import shutil

import pytest

from rlft.runs.directory import iterations_of, status_of, versions
from rlft.runs.log import write_page
from tests.support.hand_made import REPO

OLD = REPO / "tests/fixtures/old_cont"
PPO = "pointreach_scratch-gae_ppo-gamma0.8-lambda0.9-kl100-16x20-2x4-seed1"


@pytest.fixture
def logs(tmp_path):
    return shutil.copytree(OLD, tmp_path / "old_runs")


def test_the_status_of_an_old_run(logs):
    status = status_of(logs / PPO / "version_0")
    assert (status.state, status.done, status.iterations, status.seed) == ("completed", 2, 2, 1)
    assert status.started == "2026-11-27 10:05:05"
    assert status.arguments[:3] == ["fit", "--config", "configs/gae_ppo.yaml"]
    assert (status.commit[:7], status.dirty) == ("0363f1b", False)
    assert status.settings["model.update.clip_coef"] == 0.2
    assert status.settings["model.advantage"] == "GAE"
    assert not {"seed_everything", "log_dir", "trainer.max_epochs", "eval.seed"} & status.settings.keys()


def test_an_old_run_that_went_on(logs):
    first, more = (status_of(logs / PPO / f"version_{number}") for number in (0, 1))
    assert more.checkpoint == f"old_runs/{PPO}/version_0/checkpoints/last.ckpt"
    assert (more.checkpoint_iterations, more.done) == (2, 4)
    assert (more.digest, more.settings) == (first.digest, first.settings)


def test_old_runs_of_other_settings_are_others(logs):
    newest = [status_of(versions(folder)[-1]) for folder in logs.iterdir() if folder.is_dir()]
    assert len({status.digest for status in newest}) == len(newest) == 4


def test_the_digest_counts_every_setting(logs):
    before = status_of(logs / PPO / "version_0")
    config = logs / PPO / "version_0/config.yaml"
    config.write_text(config.read_text().replace("clip_coef: 0.2\n        ent", "clip_coef: 0.1\n        ent"))
    after = status_of(logs / PPO / "version_0")
    assert after.settings["model.update.clip_coef"] == 0.1
    assert after.digest != before.digest


def test_the_iterations_of_an_old_run(logs):
    rows = iterations_of(logs / PPO / "version_1")
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["steps/env"] for row in rows] == [0, 320, 640, 960, 1280]
    assert rows[4]["losses/explained_variance"] == -0.998
    assert "losses/entropy" not in rows[0]


def test_the_page_of_old_runs_says_what_it_said(logs):
    """The page that older code wrote, from its reports."""
    before = (logs / "log.md").read_text()
    assert write_page(logs).read_text() == before


@pytest.mark.parametrize("note", ["Running. Deterministic success of the policy is 3.1%.", "Ended early: UserError x"])
def test_old_runs_that_did_not_end(logs, note):
    report = logs / PPO / "version_0/report.md"
    report.write_text("\n".join([*report.read_text().splitlines()[:2], note, *report.read_text().splitlines()[3:]]))
    status = status_of(logs / PPO / "version_0")
    expected = {"R": ("running", ""), "E": ("ended early", "UserError x")}[note[0]]
    assert (status.state, status.reason) == expected


@pytest.mark.parametrize(
    "damage", [b"", b"a: [", b"[1, 2]", b"a: &a [*a]", b"? [a]\n: 1", b"a: !!python/name:os.system"]
)
def test_an_old_run_without_a_readable_configuration_has_no_identity(logs, damage):
    (logs / PPO / "version_0/config.yaml").write_bytes(damage)
    status = status_of(logs / PPO / "version_0")
    assert (status.digest, status.seed, status.iterations, status.done) == ("", -1, 0, 2)


def test_a_run_that_has_a_status_is_not_looked_up_in_its_report(logs):
    (logs / PPO / "version_0/status.json").write_text("{")
    assert status_of(logs / PPO / "version_0") is None
    assert iterations_of(logs / PPO / "version_0") == []
