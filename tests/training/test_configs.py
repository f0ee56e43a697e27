"""Every config runs, and so does every pair of plug-ins."""

import inspect
import itertools

import pytest
import yaml

import rlft.advantage
import rlft.update
from tests.support.hand_made import REPO
from tests.support.training import made_by, run, scalars, with_overlay

CONFIGS = sorted(path.stem for path in (REPO / "configs").glob("*.yaml") if "smoke" not in path.stem)


def plugins(package):
    classes = (getattr(package, name) for name in package.__all__)
    return [cls.__name__ for cls in classes if not inspect.isabstract(cls)]


PAIRS = list(itertools.product(plugins(rlft.advantage), plugins(rlft.update)))


def test_something_is_tested():
    assert "gae_ppo" in CONFIGS
    assert {("GAE", "PPO"), ("MonteCarlo", "PPO")} <= set(PAIRS)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_smoke_overlay_is_all_that_a_config_needs_to_finish_in_seconds(config, tmp_path):
    run_dir = made_by(with_overlay(tmp_path, "--trainer.max_epochs=1", config=config), tmp_path)
    assert [value for _, value in scalars(run_dir)["steps/env"]] == [320.0]


@pytest.mark.parametrize("config", CONFIGS)
def test_config_says_what_it_is_and_how_to_run_it(config):
    first, second, *_ = (REPO / f"configs/{config}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    assert second == f"# rlft fit --config configs/{config}.yaml"


@pytest.mark.parametrize(("advantage", "update"), PAIRS)
def test_every_pair_of_plugins_runs(advantage, update, tmp_path):
    few = ["--model.advantage.num_samples=2"] if advantage == "MonteCarloRerollout" else []
    critic = ["--model.advantage.critic=true"] if (advantage, update) == ("MonteCarloRerollout", "CriticOnly") else []
    plugins = [f"--model.advantage={advantage}", *few, *critic, f"--model.update={update}"]
    run_dir = run(tmp_path, *plugins, "--trainer.max_epochs=1")
    others = {advantage, update} - {"GAE", "PPO"}  # those of the config file are not said again
    assert others <= set(run_dir.parent.name.split("-"))
    assert scalars(run_dir)["steps/env"] == [(320, 320.0)]


def test_smoke_runs_of_racing_outlast_the_warm_up():
    config, overlay = (
        yaml.safe_load((REPO / f"configs/{name}.yaml").read_text()) for name in ("racing_iqn", "smoke_racing")
    )
    assert config["model"]["init_args"]["warmup_iterations"] < overlay["trainer"]["max_epochs"]
