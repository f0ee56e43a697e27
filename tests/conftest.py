"""Shared fixtures."""

import logging
import os
import signal
import sys

import pytest
import torch

from tests.support.savings import collect_less, parse_files_once
from tests.support.warm import warm_workers

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it, and all they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:::lightning")  # its advice for data loaders we do not use


def pytest_xdist_auto_num_workers():
    """One more than there are cores: tests wait for the processes that they start for a quarter of their time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish():
    if command_line := sys.modules.get("rlft.training.cli"):
        parse_files_once(command_line.RLFTCli)


def pytest_runtest_setup(item):
    if item.get_closest_marker("draws"):
        from tests.support.drawing import can_draw

        if not can_draw():
            pytest.skip("nothing draws here: no Vulkan device, and no SwiftShader of a chromium")
    if item.get_closest_marker("maniskill"):
        collect_less()


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # these networks are tiny, and the machine may be busy


@pytest.fixture(autouse=True, scope="session")
def _quiet_lightning():
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)


@pytest.fixture(autouse=True, scope="session")
def _warm_workers():
    with warm_workers():
        yield


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
