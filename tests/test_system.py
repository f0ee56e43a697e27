"""How many workers there are by default."""

import os

import pytest

from rlft.studies.local_jobs import threads_of_each
from rlft.system import available_cores


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
