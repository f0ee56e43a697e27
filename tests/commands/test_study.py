"""`rlft study` as a user runs it, with real processes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from rlft.cli import main
from rlft.commands.study import _executor
from rlft.comparison.run_groups import select
from rlft.runs.status import read_status
from rlft.training.config_check import wrong
from tests.support.descendants import PATIENCE, children, runs, wait_until
from tests.support.hand_made import REPO, is_sentence, same
from tests.support.training import run, scalars
from tests.support.warm import Warm
from tests.support.warm_study import study

ONE = f"""
config: [{REPO}/configs/gae_ppo.yaml, {REPO}/configs/smoke.yaml, {REPO}/tests/support/small_networks.yaml]
options: {{trainer.max_epochs: 40}}
seeds: [1]
arms: {{a: }}
"""


def studies(tmp_path, begin):
    """Yields a function that begins the study in `tmp_path/logs/one`; what it has started ends with the test."""
    (tmp_path / "one.yaml").write_text(ONE)
    started = []

    def start():
        started.append(begin())
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def warm_study(tmp_path):
    """Starts it in processes that have everything imported."""
    yield from studies(tmp_path, lambda: Warm(study, "one.yaml", "--log_dir=logs", cwd=tmp_path, merged=True))


@pytest.fixture
def cold_study(tmp_path):
    """Starts it as a user does."""
    command = [sys.executable, "-m", "rlft", "study", "one.yaml", "--log_dir", "logs"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    yield from studies(tmp_path, lambda: subprocess.Popen(command, cwd=tmp_path, env=environment, **options))


@pytest.fixture
def checked_here(monkeypatch):
    """The configurations of a study are looked at in this process, not in one of its own."""

    def run(command, *, input, **_options):
        assert command[1:] == ["-m", "rlft.training.config_check"]
        return subprocess.CompletedProcess(command, 0, json.dumps(wrong(json.loads(input))), "")

    monkeypatch.setattr("rlft.commands.study.subprocess", SimpleNamespace(run=run))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")
@pytest.mark.parametrize("everything", [True, False])
def test_a_study_killed_in_the_middle_ends_as_one_left_alone(tmp_path, warm_study, everything):
    folder = tmp_path / "logs/one/a-seed1"
    process = warm_study()
    wait_until((folder / "version_0/checkpoints/last.ckpt").exists)
    (child,) = children(process.pid)
    process.kill()
    process.wait()
    if everything:
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: not runs(child))  # a run that lost its study ends at a safe point
    assert not read_status(folder / "version_0").is_complete
    manifest = json.loads((folder.parent / "study.json").read_text())
    assert [one["status"] for one in manifest["runs"]] == ["running"]

    output, _ = warm_study().communicate()
    assert "a-seed1 goes on" in output
    assert re.search(r"\[1/1\] a-seed1 completed after \S+, success \d+\.\d% -> \d+\.\d%  \(", output)
    assert "All 1 runs of logs/one are complete." in output
    alone = run(tmp_path / "alone", "--trainer.max_epochs=40", "--seed_everything=1")
    continued = folder / "version_1"
    assert same(*(load_file(path / "policies/last.safetensors") for path in (continued, alone)))
    table = [[line for line in (path / "report.md").read_text().splitlines() if line.startswith("| ")]
             for path in (continued, alone)]  # fmt: skip
    assert len(table[0]) == 42
    assert [row.split("|")[:5] for row in table[0]] == [row.split("|")[:5] for row in table[1]]
    whole = scalars(alone)["losses/value_loss"]
    assert scalars(continued)["losses/value_loss"] == whole[-len(scalars(continued)["losses/value_loss"]) :]
    (compared,) = select([str(folder.parent)], "losses/value_loss").groups["a"]  # from its beginning, each once
    assert list(compared.scalars["losses/value_loss"].items()) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="looks for child processes in /proc")
def test_sigterm_ends_the_runs_at_a_safe_point(tmp_path, cold_study):
    folder = tmp_path / "logs/one/a-seed1"
    process = cold_study()
    wait_until((folder / "version_0/checkpoints/last.ckpt").exists)
    (child,) = children(process.pid)
    cores = os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
    assert {f"RLFT_CORES={cores}", f"OMP_NUM_THREADS={cores}"} <= set(
        Path(f"/proc/{child}/environ").read_text().split("\0")
    )
    process.terminate()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert not runs(child)
    assert "a-seed1 interrupted" in output
    assert "rlft: Ended by a signal; the same command goes on with 1 of 1 runs." in output
    status = read_status(folder / "version_0")
    assert (status.state, status.reason.split()[0]) == ("ended early", "SIGTERMException")


@pytest.mark.usefixtures("checked_here")
def test_runs_that_fail_are_listed_and_the_status_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        f"config: [{REPO}/configs/gae_ppo.yaml, {REPO}/configs/smoke.yaml]\nseeds: [1]\n"
        "prepare: {d: {command: [collect, '{here}/d.h5'], options: {episodes: 0}}}\n"
        "arms: {a: {options: {data: OfflineDataModule, data.dataset: '{d}/d.h5'}}}"
    )
    (tmp_path / "failing.yaml").write_text(text)
    assert main(["study", "failing.yaml"]) == 1
    printed = capsys.readouterr()
    log = "lightning_logs/failing/d/output.log"
    assert f", see {log}: episodes is 0; with these shares some policy would play none." in printed.out
    assert "a-seed1 not run: It needs d." in printed.out
    assert printed.err.startswith("rlft: 2 of 2 runs failed or were not run")
    assert "$ rlft collect" in (tmp_path / "lightning_logs/failing/d/output.log").read_text()


@pytest.mark.usefixtures("checked_here")
def test_a_dry_run_prints_commands_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(REPO)
    assert main(["study", "configs/studies/smoke.yaml", "--dry_run", "--log_dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "# pretrained-seed2: begins after critic-seed2" in lines
    assert sum(line.startswith("rlft fit --config=") for line in lines) == 8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("checked_here")
def test_the_study_of_the_docs_can_be_made_and_compared_as_they_say(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = (REPO / "docs/studies.md").read_text().split("## A study of your own")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    study, compare = (line.split()[1:] for line in lines if line.startswith("rlft "))
    (tmp_path / study[1]).write_text("\n".join(line for line in lines if not line.startswith("rlft ")))
    assert main([*study, "--dry_run"]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rlft fit")]
    assert len(commands) == 2 * 6
    assert all("--model.policy=pickcube/weak --trainer.max_epochs=4" in command for command in commands)
    runs = {f"--log_dir={Path(compare[1]).parent}/{Path(compare[1]).name} --run_name={arm}-seed{seed}"
            for arm in ("ppo", "off_policy") for seed in range(1, 7)}  # fmt: skip
    assert {command.partition(" --log_dir=")[2] for command in commands} == {one.partition("=")[2] for one in runs}


@pytest.mark.parametrize(
    ("option", "said", "dry_run"),
    [
        ("model.advantage.gama: 0.9", "b: model.advantage (GAE): there is no option 'gama'; choose one of", "true"),
        ("model.advantage.gamma: 1.5", "b: model.advantage.gamma is 1.5; it must be from 0 to 1.", "false"),
    ],
)
def test_arms_that_cannot_be_run_are_refused_at_once(tmp_path, capsys, monkeypatch, request, option, said, dry_run):
    if dry_run == "false":  # once in a process of its own is enough
        request.getfixturevalue("checked_here")
    monkeypatch.chdir(tmp_path)
    text = f"config: [{REPO}/configs/gae_ppo.yaml, {REPO}/configs/smoke.yaml]\nseeds: [1, 2]\narms:\n"
    (tmp_path / "wrong.yaml").write_text(text + f"  a:\n  b: {{options: {{{option}}}}}\n")
    assert main(["study", "wrong.yaml", "--dry_run", dry_run]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"rlft: wrong.yaml: {said}")
    assert is_sentence(error)
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.logger=false", "trainer.logger has to be left out; without"),
        ("--trainer.fast_dev_run=true", "trainer.fast_dev_run has to be left out; without"),
        ("--data.seed=3", "data.seed follows seed_everything; it cannot be set to 3."),
    ],
)
def test_what_no_run_of_a_study_can_have_is_wrong(option, said):
    files = [f"--config={REPO}/configs/{name}.yaml" for name in ("gae_ppo", "smoke")]
    found = wrong({"right": ["fit", *files], "b": ["fit", *files, option]})
    assert found.keys() == {"b"}
    assert found["b"].startswith(said)


@pytest.mark.usefixtures("checked_here")
def test_a_cluster_that_is_not_there_leaves_nothing(tmp_path, capsys, monkeypatch):
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    monkeypatch.chdir(REPO)
    arguments = ["configs/studies/smoke.yaml", f"--log_dir={tmp_path}", "--executor=slurm"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["study", *arguments]) == 1
    assert "submitit cannot use SLURM" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("asked", "threads"), [({}, 1), ({"num_cpus": 0.5}, 1), ({"num_cpus": 4}, 4)])
def test_ray_gives_fractions_of_a_core_but_a_run_has_a_thread(tmp_path, monkeypatch, asked, threads):
    monkeypatch.setattr("rlft.commands.study.ray_executor", lambda options: None)
    assert _executor("ray", asked, tmp_path, jobs=1, lock=0) == (None, threads)


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_jobs_below_one_are_refused(jobs, capsys):
    assert main(["study", str(REPO / "configs/studies/smoke.yaml"), f"--jobs={jobs}"]) == 1
    assert "at least 1" in capsys.readouterr().err
