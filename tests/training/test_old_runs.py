"""Runs that the code before rooms made, in `tests/fixtures/old_runs`: they load, and go on as that code went on.

Made by `rlft fit` with the smoke overlay and networks of 16 x 2; `after_4_iterations.safetensors` is what the same code
made of each of them with `--ckpt_path last --trainer.max_epochs 4`.
"""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from rlft.cli import main
from rlft.networks.policy_files import load_policy
from tests.support.hand_made import REPO

OLD = REPO / "tests/fixtures/old_runs"
RUNS = sorted(path.name for path in OLD.iterdir() if path.is_dir())


@pytest.fixture
def old_runs(tmp_path, monkeypatch):
    """A copy, in the folder from which they were started."""
    shutil.copytree(OLD, tmp_path / "old_runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "old_runs"


@pytest.mark.parametrize("name", RUNS)
def test_goes_on_where_the_old_code_would_have(name, old_runs):
    run = old_runs / name
    options = ["--config", f"{run}/version_0/config.yaml", "--ckpt_path", "last", "--trainer.max_epochs", "4"]
    assert main(["fit", *options]) == 0
    found, expected = (
        load_file(run / "version_1/policies/last.safetensors"),
        load_file(run / "after_4_iterations.safetensors"),
    )
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(
            found[key], tensor, atol=1e-4, rtol=1e-4
        )  # bit-identical on the machine of the old code


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("file", ["policies/last.safetensors", "checkpoints/last.ckpt"])
def test_policies_and_checkpoints_load(name, file):
    policy = load_policy(str(OLD / name / "version_0" / file))
    assert policy.actor.state_dict()
