"""Several learners of one run: the data of one, the curve of one, and the end of one."""

import json
import multiprocessing
import os
import signal
import sys
import time
from contextlib import closing

import lightning
import pytest
import torch
import torch.distributed as dist

from rlft.cli import main
from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.learners import Place, place
from rlft.modules.shared_networks import shared
from rlft.networks import ConditionedActor, GaussianActor
from rlft.rollout import make_rollouts
from rlft.runs import directory
from rlft.runs.iterations import read_iterations
from rlft.runs.status import read_status
from rlft.system import SHARE
from rlft.training import several_learners
from rlft.types import Obs
from tests.support.descendants import descendants, runs, wait_until
from tests.support.hand_made import REPO, is_sentence
from tests.support.training import data, last_weights, module, run, same_policies, smoke
from tests.support.training import fit as train
from tests.support.warm import Warm, run_module

SOON = 60  # seconds, on a busy machine; what is promised is 30 and a few
CPU = ("--trainer.accelerator=cpu", "--model.learning_rate=0.01")
COSTS = ("time/", "charts/SPS", "charts/rerollouts_per_second")  # what a run took has no part in its curve
KILLED = "Learner 2 of 2 was ended by SIGKILL; --ckpt_path last goes on"
WRONG = "What the second iteration has made is wrong."


class Gradients(lightning.Callback):
    """Keeps those of the first minibatch; Adam would hide that all of them are too long."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 0 and (folder := directory.of_trainer(trainer)):
            found = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
            torch.save(found, folder / "gradients.pt")


class Trouble(lightning.Callback):
    """What happens to some learners at the end of iteration 2."""

    def __init__(self, what: str, ranks: list[int]) -> None:
        self.what, self.ranks = what, ranks

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch != 1 or place().rank not in self.ranks:
            return
        if self.what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.what == "wrong":
            raise UserError(WRONG)
        elif self.what == "drifts":
            with torch.no_grad():
                next(pl_module.actor.parameters()).view(-1)[0] += 1e-7
        elif self.what == "asked":
            signal.raise_signal(signal.SIGTERM)
        elif self.what == "busy":  # beside another one that is killed
            time.sleep(2 * SOON)


def trouble(what, ranks):
    options = json.dumps({"what": what, "ranks": ranks})
    return [f"--trainer.callbacks+={Trouble.__module__}.Trouble", f"--trainer.callbacks.init_args={options}"]


def fit(log_dir, learners, *options, **given):
    return run(log_dir, *CPU, f"--trainer.devices={learners}", *options, **given)


def curve(run_dir):
    """The numbers of every iteration but what they cost."""
    return [{k: v for k, v in row.items() if not k.startswith(COSTS)} for row in read_iterations(run_dir)]


def assert_same_curve(one, other):
    assert len(one) == len(other)
    for expected, found in zip(one, other, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5, nan_ok=True)


def assert_close(one, other, tolerance):
    assert one.keys() == other.keys()
    assert all(torch.allclose(tensor, other[name], rtol=1e-3, atol=tolerance) for name, tensor in one.items())


METHODS = {
    "GAE": ["--model.update.target_kl=0.01", "--model.update.ent_coef=0.1"],  # the first stops the actor
    "re-rollouts": [
        "--data.num_steps=8",
        "--model.advantage=MonteCarloRerollout",
        "--model.advantage.num_samples=2",
        "--model.advantage.critic=true",
        "--model.update=AWR",
    ],
    "both, uneven": ["--data.num_envs=15", "--data.num_minibatches=3", "--eval.num_episodes=1", "--model.update=RECAP"],
    "beyond the contract": ["--model.advantage=IQL", "--model.update=ConditionedRECAP"],
}


@pytest.mark.parametrize("method", METHODS)
def test_two_learners_have_the_curve_of_one(method, tmp_path):
    options = [*METHODS[method], "--trainer.max_epochs=5", f"--trainer.callbacks+={Gradients.__module__}.Gradients"]
    one, two = (fit(tmp_path / str(learners), learners, *options) for learners in (1, 2))
    expected = curve(one)
    assert_same_curve(expected, curve(two))
    if method == "GAE":
        assert any(row["charts/actor_updates"] < row["charts/critic_updates"] for row in expected[1:])
    assert expected[-1]["charts/actor_updates"] > 0
    assert_close(last_weights(one), last_weights(two), 1e-4)
    gradients = torch.load(one / "gradients.pt")
    assert any(name.startswith("actor") for name in gradients)
    assert_close(gradients, torch.load(two / "gradients.pt"), 1e-6)
    assert (one / "episodes.jsonl").read_text() == (two / "episodes.jsonl").read_text()
    assert files(one) == files(two)


def files(run_dir):
    """What is in the folder, and beside it."""
    found = [*run_dir.rglob("*"), *run_dir.parent.parent.glob("*")]
    return sorted(path.name.partition(".tfevents")[0] for path in found if path != run_dir.parent)


def test_it_goes_on_as_if_it_had_not_stopped_also_with_another_number(tmp_path):
    whole = fit(tmp_path / "whole", 2, "--trainer.max_epochs=3")
    half = fit(tmp_path / "half", 2, "--trainer.max_epochs=2")
    rest = fit(tmp_path / "half", 2, "--trainer.max_epochs=3", "--ckpt_path=last")
    assert same_policies(whole, rest)
    assert curve(whole) == curve(rest)
    last = half / "checkpoints/last.ckpt"
    alone = fit(tmp_path / "alone", 1, "--trainer.max_epochs=3", f"--ckpt_path={last}")
    assert_same_curve(curve(whole), curve(alone))
    assert read_status(alone).digest == read_status(whole).digest


@pytest.mark.parametrize(
    ("what", "ranks", "said", "reason"),
    [
        ("killed", [1], KILLED, "LearnerLost"),
        ("wrong", [1], f"Learner 2 of 2: {WRONG}", "LearnerLost"),
        (
            "wrong",
            [0, 1],
            WRONG,
            f"UserError {WRONG}",
        ),
        (
            "wrong",
            [0],
            WRONG,
            f"UserError {WRONG}",
        ),
        ("drifts", [1], "The learners have come to different weights", "UserError The learners have come"),
        ("asked", [0], "Ended by SIGTERM; --ckpt_path last goes on", "SIGTERMException"),
    ],
    ids=["killed", "wrong", "both wrong", "first wrong", "drifts", "asked"],
)
def test_what_ends_one_learner_ends_the_run_with_a_sentence(what, ranks, said, reason, tmp_path, capsys):
    began = time.monotonic()
    assert main(smoke(tmp_path, *CPU, "--trainer.devices=2", "--trainer.max_epochs=9", *trouble(what, ranks))) == 1
    assert time.monotonic() - began < SOON
    err = capsys.readouterr().err
    assert is_sentence(err.removeprefix("rlft: ").strip())
    assert err.startswith(f"rlft: {said}")
    (status,) = map(read_status, tmp_path.glob("*/version_0"))
    assert (status.state, status.reason[: len(reason)]) == ("ended early", reason)
    assert not multiprocessing.active_children()
    assert place() == Place()
    assert not dist.is_initialized()


def refuse(_arguments):
    raise UserError(WRONG)


def test_a_learner_that_does_not_get_as_far_as_the_others_is_missed():
    try:
        with pytest.raises(UserError, match=f"Learner 2 of 2: {WRONG}"):
            several_learners.gather(2, refuse, [])
    finally:
        several_learners.leave()
    assert not multiprocessing.active_children()


REFUSED = {
    "bc": "trainer.devices asks for 2 learners, but model BCModule has only one",
    "off_policy": "trainer.devices asks for 2 learners, but model OffPolicyModule has only one",
    "mc_awr_offline": "trainer.devices asks for 2 learners, but data OfflineDataModule has only one",
}


@pytest.mark.parametrize("config", REFUSED)
def test_what_cannot_be_shared_is_refused(config, tmp_path, capsys):
    options = [f"--config={REPO}/configs/{config}.yaml", f"--log_dir={tmp_path}", *CPU[:1], "--trainer.devices=2"]
    assert main(["fit", *options]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"rlft: {REFUSED[config]}; several can share FinetuneModule with RolloutDataModule.")
    assert not list(tmp_path.iterdir())


def test_only_fit_has_several(tmp_path, capsys):
    assert main(["validate", *smoke(tmp_path, "--trainer.devices=2")[1:]]) == 1
    assert capsys.readouterr().err == "rlft: trainer.devices is 2; rlft validate works on 1 device.\n"


def test_too_few_environments_are_refused(tmp_path, capsys):
    assert main(smoke(tmp_path, *CPU, "--trainer.devices=2", "--data.num_envs=1")) == 1
    assert "data.num_envs is 1; it must be at least 1 for each of 2 learners." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere others end at their next exchange")
def test_nobody_outlives_the_first_learner(tmp_path):
    """Which here starts another interpreter, as outside of tests."""
    arguments = smoke(tmp_path, *CPU, "--trainer.devices=2", "--trainer.max_epochs=100000", "--run_name=run")
    first = Warm(run_module, "rlft", [*map(str, arguments)], cwd=REPO)
    try:
        last = tmp_path / "run/version_0/checkpoints/last.ckpt"
        wait_until(lambda: last.exists() or first.poll() is not None)
        assert first.poll() is None, first.stderr.read()
        others = descendants(first.pid)
        assert others
    finally:
        first.kill()
        first.wait()
    wait_until(lambda: not any(runs(pid) for pid in others))


IMPATIENT = """
import sys
from rlft.cli import main
from rlft.envs import PointReach
from rlft.training import several_learners
several_learners.PATIENCE = 1.0
sys.exit(main(sys.argv[1:]))
"""


def run_impatiently(arguments):
    sys.argv = ["rlft", *arguments]
    exec(IMPATIENT, {"__name__": "impatient"})


def test_a_busy_first_learner_is_ended_in_time(tmp_path):
    kinds = [*trouble("killed", [1]), *trouble("busy", [0])]
    first = Warm(run_impatiently, [*map(str, smoke(tmp_path, *CPU, "--trainer.devices=2", *kinds))], cwd=REPO)
    began = time.monotonic()
    _, err = first.communicate()
    assert first.returncode == 1
    assert (
        err
        == "rlft: Learner 2 of 2 was ended by SIGKILL; --ckpt_path last goes on after the last complete iteration.\n"
    )
    assert time.monotonic() - began < SOON


# ---- environments ------------------------------------------------------------------------------------------------


def test_a_learner_has_its_share_of_environments_and_cores(monkeypatch):
    monkeypatch.setenv(SHARE, "4")
    monkeypatch.setattr("rlft.learners._place", Place(1, 2))
    with closing(make_rollouts(PointReach(), 9, None)) as rollouts:
        assert len(rollouts._own.shares) == 2  # workers
        assert rollouts._own.initial_states(seed=1).episode.tolist() == [4, 5, 6, 7, 8]
        assert rollouts.num_envs == 9


def test_a_trainer_of_lightning_has_one_device(monkeypatch):
    monkeypatch.setattr("rlft.learners._place", Place(0, 2))  # as many as it does not have
    with pytest.raises(UserError, match=r"from Python a Trainer has 1 device\."):
        train(module(), data(), 1)


# ---- networks ----------------------------------------------------------------------------------------------------


def test_alone_a_network_is_itself():
    actor = GaussianActor(6, 2, 8, 1)
    assert shared(actor) is actor


def test_a_shared_network_is_of_its_kind_and_has_the_same_weights(monkeypatch):
    monkeypatch.setattr("rlft.learners._place", Place(0, 2))
    monkeypatch.setattr("rlft.modules.shared_networks.joined", lambda own, total: own)
    actor = ConditionedActor(GaussianActor(6, 2, 8, 1))
    other = shared(actor)
    assert isinstance(other, ConditionedActor)
    assert [*map(id, other.parameters())] == [*map(id, actor.parameters())]
    assert other.can("entropy") == actor.can("entropy")
    assert other.can("imitation")
    assert other.imitates_by_likelihood == actor.imitates_by_likelihood
    obs, action = Obs(torch.randn(5, 6)), torch.randn(5, 2)
    assert torch.equal(other.log_prob(obs, action), actor.log_prob(obs[:2], action[:2]))
