"""How many workers there are by default, and how threads share cores with others."""

import os
import subprocess
import sys
import time

import pytest

from rlft.studies.local_jobs import threads_of_each
from rlft.system import available_cores, taken_by_others


@pytest.mark.parametrize(("share", "expected"), [("3", 3), ("0", None), ("many", None), (None, None)])
def test_a_run_of_a_study_takes_its_share(share, expected, monkeypatch):
    monkeypatch.delenv("RLFT_CORES", raising=False)
    if share is not None:
        monkeypatch.setenv("RLFT_CORES", share)
    assert available_cores() == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("jobs", "threads"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_cores_are_shared_out(jobs, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("RLFT_CORES", "6")
    assert threads_of_each(jobs) == threads


@pytest.mark.parametrize(
    ("given", "found"), [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_wait_briefly_unless_the_user_says_how(given, found):
    code = "import os, sys; from rlft.cli import main; assert 'torch' not in sys.modules; main(['--help']); "
    code += "print(os.environ.get('GOMP_SPINCOUNT'))"
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | given
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == found


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell how busy they are")
def test_cores_that_others_have_are_counted(monkeypatch):
    from rlft import system

    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        monkeypatch.setattr(system, "STARTED", (time.monotonic(), system._processor_time()))
        began, own = time.monotonic(), time.process_time()
        while time.process_time() - own < 0.3 and time.monotonic() - began < 20:  # this process counts for nothing
            pass
        assert 0 < taken_by_others() <= (os.cpu_count() or 1)
        monkeypatch.setattr(system, "_processor_time", lambda: None)
        assert taken_by_others() == 0.0
    finally:
        busy.kill()
