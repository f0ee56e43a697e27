"""Runs as jobs of submitit (here, those of this machine) and of Ray, each a real one."""

import pytest

from rlft.errors import UserError
from rlft.studies.local_jobs import reason_of
from rlft.studies.ray_jobs import ray_executor
from rlft.studies.slurm_jobs import slurm_executor
from tests.support.descendants import wait_until
from tests.support.hand_made import REPO

LONG = [
    "fit",
    f"--config={REPO}/configs/gae_ppo.yaml",
    f"--config={REPO}/configs/smoke.yaml",
    "--trainer.max_epochs=9999",
]


def ended(job):
    """The exit status."""
    wait_until(lambda: job.poll() is not None)
    return job.poll()


@pytest.fixture(scope="module")
def ray():
    module = pytest.importorskip("ray", reason="needs the extra `ray`")
    yield ray_executor({"num_cpus": 1})
    module.shutdown()


@pytest.fixture
def submitit(tmp_path):
    pytest.importorskip("submitit", reason="needs the extra `slurm`")
    return slurm_executor(tmp_path / "study", {"timeout_min": 5}, cluster="local")


@pytest.fixture(params=["ray", "submitit"])
def start(request, tmp_path):
    """Starts `rlft` with its output in `tmp_path/output.log`."""
    executor = request.getfixturevalue(request.param)
    return lambda args: executor(args, tmp_path / "output.log", 1)


def test_success_and_failure(start, tmp_path):
    log = tmp_path / "output.log"
    assert ended(start(["--help"])) == 0
    assert log.read_text().startswith("$ rlft --help\nusage: rlft")
    status = ended(start(["note", str(tmp_path / "nowhere"), "a remark"]))
    assert status == 1
    assert reason_of(status, log) == (
        f"{tmp_path / 'nowhere'} is no run that an index.jsonl beside it knows; name one such as lightning_logs/<run>."
    )


def test_a_request_to_end_is_heard(start, tmp_path):
    log = tmp_path / "output.log"
    job = start([*LONG, f"--log_dir={tmp_path}", "--run_name=long"])
    wait_until((tmp_path / "long/version_0/checkpoints/last.ckpt").exists)
    job.terminate()
    assert ended(job) != 0
    assert "goes on after the last complete iteration" in log.read_text()
    assert "Ended early" in (tmp_path / "long/version_0/report.md").read_text()


@pytest.mark.usefixtures("ray")
def test_options_that_ray_does_not_know():
    with pytest.raises(UserError, match=r"^Ray cannot be used with executor_options {'cpus': 1}: .*cpus"):
        ray_executor({"cpus": 1})


@pytest.mark.usefixtures("submitit")
def test_options_that_submitit_does_not_know(tmp_path):
    with pytest.raises(UserError, match=r"^submitit cannot use SLURM with executor_options {'cpus': 1}: .*cpus"):
        slurm_executor(tmp_path, {"cpus": 1}, cluster="local")
