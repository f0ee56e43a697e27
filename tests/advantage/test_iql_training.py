"""IQL in real training: pretrained critics, frozen ones, policy files, resuming."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from rlft.advantage import GAE, IQL
from rlft.callbacks import FreezeSchedule
from rlft.callbacks.freeze_schedule import Freeze
from rlft.errors import UserError
from rlft.networks import GaussianActor, ValueCritic
from rlft.networks.policy_files import load_policy, save_policy
from rlft.types import Obs
from tests.support.hand_made import same, weights_of
from tests.support.training import data, fit, module, run


@pytest.fixture
def pretrained(tmp_path):
    """A policy file with IQL's critic for PointReach."""
    torch.manual_seed(3)
    critic = IQL().adapt(ValueCritic(6, 16, 2), 6, 2)
    path = tmp_path / "iql.safetensors"
    save_policy(path, GaussianActor(6, 2, 16, 2), critic, {})
    return str(path), critic


UNKNOWN = [
    "policy",
    "gamma",
    "reward_mode",
    "reward_scale",
    "bootstrap_at_done",
    "expectile",
]  # what the file does not tell


def test_iql_goes_on_with_a_pretrained_critic(pretrained):
    path, critic = pretrained
    started = module(advantage=IQL(), critic_policy=path, accept_critic_mismatch=UNKNOWN)
    assert same(started.critic.state_dict(), critic.state_dict())


def test_gae_takes_the_v_of_a_critic_with_q_networks(pretrained):
    path, critic = pretrained
    started = module(advantage=GAE(), critic_policy=path, accept_critic_mismatch=UNKNOWN)
    assert type(started.critic) is ValueCritic
    obs = Obs(torch.randn(5, 6))
    assert torch.equal(started.critic(obs), critic(obs))


# ---- in training -------------------------------------------------------------------------------------------------


def test_training_moves_v_q_and_targets_and_a_policy_file_holds_all(tmp_path):
    model = module(advantage=IQL(polyak=0.1))
    before = copy.deepcopy(model.critic.state_dict())
    fit(model, data(), 1)
    after = model.critic.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before)
    save_policy(tmp_path / "last.safetensors", model.actor, model.critic, {})
    assert same(load_policy(str(tmp_path / "last.safetensors")).critic.state_dict(), after)


def test_a_frozen_critic_stays_bit_identical_targets_included(pretrained):
    path, _ = pretrained
    model = module(advantage=IQL(), critic_policy=path, accept_critic_mismatch=UNKNOWN)
    for target in model.critic.target_q.buffers():
        target.add_(1.0)
    before = copy.deepcopy(model.critic.state_dict())
    fit(model, data(), 1, [FreezeSchedule([Freeze("critic")])])
    assert same(before, model.critic.state_dict())


def test_targets_never_learn_and_cannot_be_named_in_a_freeze_schedule():
    model = module(advantage=IQL(polyak=1e-9))
    before = [target.clone() for target in model.critic.target_q.buffers()]
    assert not [name for name in weights_of(model) if "target" in name]
    fit(model, data(), 3, [FreezeSchedule([Freeze("critic", end=1)])])
    assert not any(target.requires_grad for target in model.critic.target_q.buffers())
    for old, new in zip(before, model.critic.target_q.buffers(), strict=True):
        assert torch.allclose(old, new, atol=1e-6)
    with pytest.raises(UserError, match="no submodule"):
        fit(module(advantage=IQL()), data(), 1, [FreezeSchedule([Freeze("critic.target_q")])])


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path):
    options = ("--model.advantage=IQL", "--model.advantage.n_step=2")
    stopped, whole = (run(tmp_path, *options, f"--trainer.max_epochs={epochs}") for epochs in (1, 2))
    checkpoint = stopped / "checkpoints/last.ckpt"
    resumed = run(tmp_path, *options, "--trainer.max_epochs=2", f"--ckpt_path={checkpoint}")
    first, second = (load_file(run_dir / "policies/last.safetensors") for run_dir in (resumed, whole))
    assert same(first, second)
    assert same(first, second, "critic.target_q.")
