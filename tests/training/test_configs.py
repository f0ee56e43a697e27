"""Every config runs, and so does every pair of plug-ins."""

import inspect
import itertools

import pytest
import yaml

import rlft.advantage
import rlft.update
from tests.support.hand_made import REPO
from tests.support.training import run, scalars

CONFIGS = sorted(path.stem for path in (REPO / "configs").glob("*.yaml") if path.stem != "smoke")


def plugins(package):
    classes = (getattr(package, name) for name in package.__all__)
    return [cls.__name__ for cls in classes if not inspect.isabstract(cls)]


PAIRS = list(itertools.product(plugins(rlft.advantage), plugins(rlft.update)))


def test_something_is_tested():
    assert "gae_ppo" in CONFIGS
    assert {("GAE", "PPO"), ("MonteCarlo", "PPO")} <= set(PAIRS)


def without_expert(config, folder):
    """A critic, an estimator's expert or a demonstrator knows only the task that the smoke overlay replaces."""
    settings = yaml.safe_load((REPO / f"configs/{config}.yaml").read_text())["model"]["init_args"]
    if settings.get("demonstrator"):
        return ["--model.demonstrator=null"]
    without = {"critic_policy": None} if settings.get("critic_policy") else {}
    if settings.get("advantage", {}).get("init_args", {}).get("policy"):
        without["advantage"] = {"init_args": {"policy": None}}
    overlay = folder / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"model": {"init_args": without}}))
    return [f"--config={overlay}"] if without else []


@pytest.mark.parametrize("config", CONFIGS)
def test_config_runs_for_an_iteration(config, tmp_path):
    run_dir = run(tmp_path, "--trainer.max_epochs=1", *without_expert(config, tmp_path), config=config)
    assert [value for _, value in scalars(run_dir)["steps/env"]] == [320.0]


@pytest.mark.parametrize("config", CONFIGS)
def test_config_says_what_it_is_and_how_to_run_it(config):
    first, second, *_ = (REPO / f"configs/{config}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    assert second == f"# rlft fit --config configs/{config}.yaml"


@pytest.mark.parametrize(("advantage", "update"), PAIRS)
def test_every_pair_of_plugins_runs(advantage, update, tmp_path):
    critic = ["--model.advantage.critic=true"] if (advantage, update) == ("MonteCarloRerollout", "CriticOnly") else []
    plugins = [f"--model.advantage={advantage}", *critic, f"--model.update={update}"]
    run_dir = run(tmp_path, *plugins, "--trainer.max_epochs=1")
    others = {advantage, update} - {"GAE", "PPO"}  # those of the config file are not said again
    assert others <= set(run_dir.parent.name.split("-"))
    assert scalars(run_dir)["steps/env"] == [(320, 320.0)]
