"""A demonstrator that sees what those who learn from it do not."""

import h5py
import pytest
import torch

from rlft.commands.collect import collect
from rlft.data import OfflineDataModule
from rlft.errors import UserError
from rlft.files.rows import entries_of, rows_of
from rlft.modules import BCModule
from rlft.networks import EncodedActor, GaussianActor, PrivilegedActor
from rlft.networks.policy_files import load_policy, save_policy
from rlft.networks.privileged import demonstrating
from rlft.rollout.local import LocalRollouts
from rlft.types import EnvStates, Obs
from tests.support.cloning import demonstrator
from tests.support.hand_made import is_sentence
from tests.support.pictured import SIZE, PrivilegedReach
from tests.support.training import fit

SMALL = {"image": (1, SIZE, SIZE), "convolutions": ((8, 4, 2), (8, 3, 1)), "float_dim": 8, "head_dim": 32}


def clone(name, **options):
    actor = options.pop("actor", lambda o, a: EncodedActor(o, a, **SMALL))
    return BCModule(4, 2, name, actor=actor, learning_rate=3e-3, privileged_dim=6, **options)


def demonstrations():
    return OfflineDataModule(PrivilegedReach(), 16, 20, num_minibatches=4, update_epochs=2, num_workers=0)


def test_it_acts_on_what_is_privileged_alone():
    actor = GaussianActor(6, 2)
    obs, noise = Obs(torch.randn(5, 4), privileged=torch.randn(5, 6)), torch.randn(5, 2)
    acted, expected = demonstrating(actor, 4, 6).act(obs, noise), actor.act(Obs(obs.privileged), noise)
    assert torch.equal(acted.action, expected.action)
    assert torch.equal(acted.log_prob, expected.log_prob)


@pytest.mark.parametrize("sizes", [(6, 6), (6, 0), (4, 0)])  # the observation fits, or nothing does
def test_others_act_on_the_observation(sizes):
    actor = GaussianActor(6, 2)
    assert demonstrating(actor, *sizes) is actor


def test_nobody_learns_from_it_and_states_keep_it(tmp_path):
    rollouts = LocalRollouts(PrivilegedReach(), 3)
    actor = PrivilegedActor(load_policy(demonstrator(tmp_path)).actor)
    start = rollouts.initial_states(1)
    rollout, states, _ = rollouts.collect(actor, start, 4, seed=1, iteration=0)
    assert rollout.obs.image.shape == (4, 3, 1, SIZE, SIZE)
    assert rollout.obs.privileged.shape == rollout.next_obs.privileged.shape == (4, 3, 0)
    assert states.obs.privileged.shape == (3, 6)
    entries = entries_of(states)
    assert {"obs", "obs.image", "obs.privileged"} <= entries.keys()
    assert torch.equal(rows_of(EnvStates, entries).obs.privileged, states.obs.privileged)


def test_a_clone_learns_from_pictures_what_the_demonstrator_knows(tmp_path):
    model, data = clone(demonstrator(tmp_path, log_std=-3.0), loss="mse"), demonstrations()
    fit(model, data, 20)
    obs = data.rollout.obs.map(lambda tensor: tensor.flatten(0, 1))
    towards = data.rollout.action.flatten(0, 1).clamp(-1, 1)
    elsewhere = Obs(obs.state, obs.image.roll(1, 0))  # the pictures of others
    with torch.no_grad():
        errors = [float(((model.actor.mode(seen) - towards) ** 2).mean()) for seen in (obs, elsewhere)]
    assert errors[0] < 0.5 * errors[1]


def test_another_size_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_policy(path, GaussianActor(5, 2), None, {})
    with pytest.raises(UserError, match="maps 5 observations to 2 actions, but the task has 4") as refused:
        clone(str(path))
    assert is_sentence(str(refused.value))


def test_its_episodes_become_files_without_what_is_privileged(tmp_path):
    output = tmp_path / "demos.h5"
    name = demonstrator(tmp_path)
    collect(str(output), name, episodes=3, env=PrivilegedReach(), num_envs=3, num_workers=0)
    with h5py.File(output) as file:
        episode = file["traj_0"]
        assert episode["obs"].shape[1] == 4
        assert episode["images"].shape[1:] == (1, SIZE, SIZE)
