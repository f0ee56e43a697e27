"""An estimator, an update and a callback of somebody else's: a file on the path, named in a config, no more."""

import sys

import pytest
from safetensors.torch import load_file

from rlft.cli import main
from rlft.networks import GaussianActor
from rlft.networks.policy_files import save_policy
from tests.support.hand_made import is_sentence, same
from tests.support.training import run, smoke

FILE = '''
import lightning
import torch

from rlft.advantage import GAE
from rlft.errors import require
from rlft.types import Irrelevant, PolicyName
from rlft.update import PPO


class Shrunk(GAE):
    """GAE, smaller.

    Args:
        factor: of the advantages.
        expert: is not used, but must exist.
        verbose: says more.
    """

    def __init__(
        self, factor: float = 1.0, expert: PolicyName | None = None, verbose: Irrelevant[bool] = False
    ) -> None:
        super().__init__(gamma=0.9)
        require(factor > 0, "model.advantage.factor", factor, "above 0")
        self.factor = factor


class Mean(PPO):
    """Follows the mean of some advantages.

    Args:
        share: of the loss.
    """

    def __init__(self, share: float = 0.5) -> None:
        super().__init__(target_kl=None)
        self.share = share

    def actor_loss(self, actor, batch):
        loss, metrics = super().actor_loss(actor, batch)
        return self.share * loss, metrics


class Counter(lightning.Callback):
    """Counts iterations.

    Args:
        start: the first number.
    """

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def on_train_epoch_end(self, trainer, pl_module):
        self.count += 1
        pl_module.add_metrics({"charts/count": float(self.count)})

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state_dict):
        self.count = state_dict["count"]


class Watcher(Counter):
    """Counts, and says that it changes nothing."""

    changes_results = False
'''
PLUGINS = ["--model.advantage=my_plugins.Shrunk", "--model.update=my_plugins.Mean"]
COUNTER = ["--trainer.callbacks+=my_plugins.Counter"]


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory):
    """The file, on the path."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "my_plugins.py").write_text(FILE)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    del sys.modules["my_plugins"]


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def first(log_dir, plugins):
    """A run of two iterations with all of them."""
    return run(log_dir, *PLUGINS, *COUNTER, "--model.advantage.factor=0.5")


def refusal(log_dir, capsys, *options):
    assert main(smoke(log_dir, *PLUGINS, *options)) == 1
    text = capsys.readouterr().err
    assert is_sentence(text)
    return text


def test_they_are_named(first):
    words = first.parent.name.split("-")
    assert words[:4] == ["gae_ppo+smoke+small_networks", "Counter", "Shrunk", "factor0.5"]
    assert words[4] == "Mean"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.advantage.factor=0"], "model.advantage.factor is 0.0; it must be above 0"),
        (["--model.advantage.factor=much"], "model.advantage.factor (Shrunk): Expected a number"),
        (["--model.advantage.factor=null"], "model.advantage.factor is null; it must be a number"),
        (["--model.advantage.colour=red"], "there is no option 'colour'; choose one of factor, expert, verbose"),
        (["--model.advantage.expert=nowhere"], "No policy 'nowhere'"),
        ([*COUNTER, "--trainer.callbacks.start=null"], "trainer.callbacks.Counter.start is null"),
    ],
)
def test_they_are_checked_before_an_environment_is_built(options, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rlft.envs.PointReach.make", None)  # not even called
    assert said in refusal(tmp_path / "logs", capsys, *options)
    assert not [*tmp_path.rglob("*/*")]


def test_they_are_saved_and_go_on(first, log_dir, tmp_path):
    assert "class_path: my_plugins.Shrunk" in (first / "config.yaml").read_text()
    options = [*PLUGINS, *COUNTER, "--model.advantage.factor=0.5"]
    rest = run(log_dir, *options, "--ckpt_path=last", "--trainer.max_epochs=3")
    assert rest == first.parent / "version_1"
    whole = run(tmp_path, *options, "--trainer.max_epochs=3")
    assert whole.parent.name == rest.parent.name
    assert same(*(load_file(made / "policies/last.safetensors") for made in (rest, whole)))


def test_other_settings_of_them_are_other_runs(first, log_dir, tmp_path, capsys):
    base = [*PLUGINS, *COUNTER, "--model.advantage.factor=0.5", "--trainer.max_epochs=9", "--ckpt_path=last"]
    for option, key in (
        ("--model.advantage.factor=0.25", "model.advantage.factor 0.5 (here 0.25)"),
        ("--model.update.share=0.25", "model.update.share 0.5 (here 0.25)"),
        ("--trainer.callbacks.start=5", "trainer.callbacks.Counter.start 0 (here 5)"),
    ):
        text = refusal(log_dir, capsys, *base[len(PLUGINS) :], option)
        assert key in text
    policy = tmp_path / "expert.safetensors"
    save_policy(policy, GaussianActor(6, 2, 8, 1), None, {})
    expert = refusal(log_dir, capsys, *base[len(PLUGINS) :], f"--model.advantage.expert={policy}")
    assert f"model.advantage.expert null (here {policy})" in expert


def test_what_they_say_cannot_change_results_is_the_same_run(first, log_dir):
    options = [*PLUGINS, *COUNTER, "--model.advantage.factor=0.5", "--model.advantage.verbose=true"]
    again = run(log_dir, *options, "--trainer.callbacks+=my_plugins.Watcher")
    assert again.parent == first.parent
