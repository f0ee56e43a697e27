import json

import lightning
import pytest
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rlft.advantage import GAE, MonteCarloRerollout
from rlft.callbacks import CriticProbe
from rlft.cli import main
from rlft.errors import UserError
from rlft.networks import GaussianActor
from rlft.networks.policy_files import save_policy
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.training import MemoryLogger, data, fit, module, run, scalars, smoke

NAMES = ["explained_variance", "calibration_slope", "value_bias", "value_rank_correlation", "advantage_correlation"]


class Oracle(torch.nn.Module):
    """A critic that knows the measured values of the probe's states, and what follows them."""

    def __init__(self, truth):
        super().__init__()
        self.known = {
            tuple(o.tolist()): v
            for o, v in zip(
                truth.rollout.obs.state[truth.labels.mask], truth.labels.value_target[truth.labels.mask], strict=True
            )
        }

    def forward(self, obs):
        return torch.stack(
            [self.known.get(tuple(o.tolist()), torch.tensor(0.0)) for o in obs.state.flatten(0, -2)]
        ).view(obs.shape)


def probed(probe, iterations=2, num_envs=8, **options):
    logger = MemoryLogger()
    fit(module(**options), data(num_envs=num_envs), iterations, [probe], logger=logger)
    return logger


def test_the_critic_is_compared_before_the_first_and_after_every_iteration():
    logger = probed(CriticProbe(num_samples=2, num_steps=10, every_k=2))
    for name in NAMES:
        assert [step for step, _ in logger.series(f"probe/{name}")] == [0, 80, 160]
    ((step, simulated),) = logger.series("probe/sim_steps")
    assert step == 0
    assert simulated > 80  # what was collected, and the re-rollouts


def test_the_distance_of_an_iterations_states():
    near = probed(CriticProbe(num_samples=2, num_steps=10), num_envs=100, learning_rate=0.0)
    for name, alike in (("auc", 0.5), ("mmd_squared", 0.0), ("neighbour_percentile", 0.5)):
        measured = near.series(f"probe/state_{name}")
        assert [step for step, _ in measured] == [1000, 2000]
        assert measured[0][1] == pytest.approx(alike, abs=0.1)


def test_the_states_of_another_policy_are_far_away(tmp_path):
    """It moves with all its might in one direction."""
    actor = GaussianActor(6, 2, 16, 1, init_log_std=-3.0)
    torch.nn.init.constant_(actor.action_head[-1].bias, 5.0)
    other = tmp_path / "other.safetensors"
    save_policy(other, actor, None, {})
    far = probed(CriticProbe(states_policy=str(other), num_samples=2, num_steps=10), num_envs=100)
    assert far.series("probe/state_auc")[0][1] > 0.9
    assert far.series("probe/state_neighbour_percentile")[0][1] > 0.8


def test_training_is_not_disturbed():
    plain, watched = module(), module()
    watched.load_state_dict(plain.state_dict())
    fit(plain, data(), 2)
    fit(watched, data(), 2, [CriticProbe(num_samples=2, num_steps=10)])
    assert same(weights_of(plain), weights_of(watched))


def test_the_true_values_agree_perfectly():
    probe = CriticProbe(num_samples=4, num_steps=10, every_k=1)
    model, datamodule = module(), data()
    trainer = fit(model, datamodule, 1, [probe])
    trainer.lightning_module.critic = Oracle(probe._truth)
    metrics = probe._compare(trainer, model)
    assert metrics["probe/explained_variance"] == pytest.approx(1)
    assert metrics["probe/calibration_slope"] == pytest.approx(1)
    assert metrics["probe/value_bias"] == pytest.approx(0, abs=1e-6)


def test_a_diagnostic_critic_is_probed_by_its_td_errors():
    logger = probed(CriticProbe(num_samples=2, num_steps=10), advantage=MonteCarloRerollout(num_samples=2, critic=True))
    assert len(logger.series("probe/advantage_correlation")) == 3


def test_a_run_without_critic_is_refused():
    with pytest.raises(UserError) as refusal:
        probed(CriticProbe(), advantage=MonteCarloRerollout(num_samples=2))
    assert is_sentence(str(refusal.value))


def test_the_truth_survives_a_resume_although_the_policy_has_moved_on(tmp_path):
    callback = '[{"class_path": "CriticProbe", "init_args": {"num_samples": 2, "num_steps": 10}}]'
    option = f"--trainer.callbacks={callback}"
    whole = scalars(run(tmp_path / "whole", option, "--trainer.max_epochs=3"))
    run(tmp_path / "parts", option, "--trainer.max_epochs=2")
    resumed = scalars(run(tmp_path / "parts", option, "--trainer.max_epochs=3", "--ckpt_path=last"))
    assert resumed["probe/explained_variance"] == whole["probe/explained_variance"][-1:]
    assert "probe/sim_steps" not in resumed


def test_the_values_of_another_policy(tmp_path):
    other = tmp_path / "other.safetensors"
    save_policy(other, GaussianActor(6, 2, 16, 1), None, {})
    callback = json.dumps([{"class_path": "CriticProbe", "init_args": {"policy": str(other), "num_samples": 2}}])
    assert "probe/value_bias" in scalars(run(tmp_path, f"--trainer.callbacks={callback}", "--trainer.max_epochs=1"))
    wrong = callback.replace(str(other), "pickcube/expert")  # of another task
    assert main(smoke(tmp_path, f"--trainer.callbacks={wrong}")) == 1


@pytest.mark.parametrize("option", ["num_samples", "num_steps", "every_k"])
def test_wrong_sizes_are_refused_by_their_own_name(option):
    with pytest.raises(UserError, match=f"CriticProbe.{option} is 0"):
        CriticProbe(**{option: 0})


def test_too_few_states_are_refused():
    with pytest.raises(UserError, match=r"CriticProbe.num_steps 2 makes 16 states"):
        probed(CriticProbe(num_steps=2))


def test_the_truth_has_the_scale_of_the_runs_rewards():
    truths = []
    for scale in (1.0, 10.0):
        torch.manual_seed(0)
        probe = CriticProbe(num_samples=2, num_steps=10, every_k=2)
        fit(module(advantage=GAE(reward_scale=scale), learning_rate=0.0), data(num_envs=100), 1, [probe])
        truths.append(probe._truth.labels)
    assert truths[0].value_target.abs().sum() > 0
    assert torch.allclose(10 * truths[0].value_target, truths[1].value_target)
    assert torch.allclose(10 * truths[0].advantage, truths[1].advantage)


def test_the_truth_has_the_horizon_of_the_runs_critic():
    """What is left of the episode, or a whole time limit: the latter takes more steps."""
    steps = {}
    for bootstrap in ("never", "truncation"):
        torch.manual_seed(0)
        probe = CriticProbe(num_samples=2, num_steps=20, every_k=5)
        fit(module(advantage=GAE(gamma=1.0, bootstrap_at_done=bootstrap)), data(), 1, [probe])
        steps[bootstrap] = probe._truth.labels.metrics["probe/sim_steps"]
    assert steps["truncation"] > 1.2 * steps["never"]


class Terminated(lightning.Callback):
    """Pretends that SIGTERM arrives as training begins."""

    def on_train_start(self, trainer, pl_module):
        trainer._signal_connector.received_sigterm = True


def test_a_request_to_end_is_heard_while_the_truth_is_measured():
    probe = CriticProbe(num_samples=2, num_steps=10)
    with pytest.raises(SIGTERMException):
        fit(module(), data(), 1, [Terminated(), probe])
    assert probe._truth is None


def test_two_probes_in_one_run(tmp_path):
    probes = [{"class_path": "CriticProbe", "init_args": {"num_samples": 2, "name": name}} for name in ("on", "off")]
    metrics = scalars(run(tmp_path, f"--trainer.callbacks={json.dumps(probes)}", "--trainer.max_epochs=1"))
    assert {"on/explained_variance", "off/explained_variance"} <= set(metrics)
