"""Observations with pictures and actions that are choices go where vectors go."""

from dataclasses import dataclass, replace

import h5py
import pytest
import torch

from rlft.advantage import MonteCarloRerollout
from rlft.commands.collect import collect
from rlft.data import OfflineDataModule, RolloutDataModule
from rlft.data.offline_datamodule import PICTURED, _with_log_prob
from rlft.errors import UserError
from rlft.files.rows import entries_of, rows_of
from rlft.modules import BCModule, FinetuneModule
from rlft.networks import CategoricalActor
from rlft.networks.policy_files import save_policy
from rlft.rollout.local import LocalRollouts
from rlft.trajectories.reader import read_trajectories
from rlft.trajectories.writer import writing_trajectories
from rlft.types import Acted, Actor, Obs, Rollout
from rlft.update import AWR
from tests.support.pictured import SIZE, PicturedReach
from tests.support.training import fit, module


class Chooser(Actor):
    """Moves towards what is drawn in grey, or by the noise where it explores."""

    obs_dim, action_dim, noise_dim, choices = 6, 1, 1, 5

    def act(self, obs, noise, *, explore=True):
        flat = obs.image.flatten(-3)
        offset = torch.stack([_place(flat == 128) - _place(flat == 255)])[0]
        towards = torch.where(
            offset[..., 0].abs() > 0, 2 - (offset[..., 0] > 0).long(), 4 - (offset[..., 1] > 0).long()
        )
        action = (noise[..., 0].abs() * 10).long() % 5 if explore else towards
        return Acted(action[..., None], torch.zeros(*obs.shape, 0))


class Imitator(Chooser):
    """Can be cloned, as updates want it."""

    def imitation(self, obs, action):
        return action[..., 0].float()


def _place(found):
    first = found.int().argmax(-1)
    return torch.stack([first % SIZE, first // SIZE], -1)


@pytest.fixture(scope="module")
def rollouts():
    made = LocalRollouts(PicturedReach(), 4)
    yield made
    made.close()


def test_a_rollout_keeps_the_pictures_and_the_choices(rollouts):
    rollout, ends, _ = rollouts.collect(Chooser(), rollouts.initial_states(1), 6, 1, 0)
    assert rollout.action.dtype == torch.int64
    assert rollout.action.shape == (6, 4, 1)
    assert rollout.obs.image.dtype == torch.uint8
    assert rollout.obs.image.shape == (6, 4, 1, SIZE, SIZE)
    assert (rollout.next_obs.image[-1] == ends.obs.image)[~rollout.done[-1]].all()
    running = ~rollout.done[:-1]
    assert (rollout.next_obs.image[:-1] == rollout.obs.image[1:])[running].all()


def test_it_is_evaluated_by_what_it_sees(rollouts):
    results = rollouts.evaluate(Chooser(), 16, seed=3, deterministic=True)
    assert results.success_once.float().mean() > 0.8  # 20 steps of 0.1 do not reach every goal


def test_files_have_the_pictures_beside_the_state(rollouts):
    rollout, *_ = rollouts.collect(Chooser(), rollouts.initial_states(1), 3, 1, 0)
    entries = entries_of(rollout)
    assert entries["obs"].shape == (3, 4, 6)
    assert entries["obs.image"].shape == (3, 4, 1, SIZE, SIZE)
    again = rows_of(Rollout, entries)
    assert torch.equal(again.next_obs.image, rollout.next_obs.image)
    del entries["obs.image"], entries["next_obs.image"]
    assert rows_of(Rollout, entries).obs.image.shape == (3, 4, 0)  # as files of vectors alone


def test_rows_without_pictures_have_width_0():
    both = Obs.cat([Obs(torch.zeros(2, 3)), Obs(torch.ones(1, 3))])
    assert both.image.shape == (3, 0)
    assert both[:1].image.shape == (1, 0)


def pictured(**options):
    """8 environments of it x 10 steps."""
    sizes = {"num_envs": 8, "num_steps": 10, "num_minibatches": 2, "update_epochs": 3, "num_workers": 0}
    return RolloutDataModule(PicturedReach(**options), **sizes)


def test_a_policy_of_vectors_is_refused_where_actions_are_choices():
    said = r"is one of 5 choices, but model\.actor GaussianActor decides for any vector; set model\.actor Categorical"
    with pytest.raises(UserError, match=said):
        fit(module(), pictured(), 1)


def test_what_goes_back_to_states_is_refused_where_there_are_none():
    model = FinetuneModule(
        6, 1, advantage=MonteCarloRerollout(), update=AWR(log_std_min=None), actor=lambda *_: Imitator()
    )
    with pytest.raises(UserError, match="MonteCarloRerollout goes back to simulator states, and PicturedReach has"):
        fit(model, pictured(snapshots=False), 1)


def test_trajectories_keep_each_picture_once(rollouts, tmp_path):
    rollout, *_ = rollouts.collect(Chooser(), rollouts.initial_states(1), 20, 1, 0)
    episode = rollout[:, 0][: int(rollout.done[:, 0].int().argmax()) + 1]
    path = tmp_path / "pictures.h5"
    with writing_trajectories(path, rollouts.spec, {}, {}) as writer:
        writer.add(0, episode, {}, {})
    with h5py.File(path) as file:
        assert file["traj_0/images"].shape == (len(episode) + 1, 1, SIZE, SIZE)
    read = read_trajectories(path, rollouts.spec)
    assert torch.equal(read.obs.image[:, 0], episode.obs.image)
    assert torch.equal(read.next_obs.image[:, 0], episode.next_obs.image)
    assert torch.equal(read.action[:, 0], episode.action)
    with pytest.raises(UserError, match="actions are choices 0 to 4, but PicturedReach has 0 to 1"):
        read_trajectories(path, replace(rollouts.spec, choices=2))


@dataclass(frozen=True)
class Meaning(PicturedReach):
    """What its choices mean is a mode of control that has to be asked of what was built."""

    meaning: str = "compass"

    def make(self, num_envs):
        built = super().make(num_envs)
        built.spec = replace(built.spec, control_mode=self.meaning)
        return built


def test_choices_that_mean_something_else_are_not_cloned(tmp_path):
    save_policy(tmp_path / "p.safetensors", CategoricalActor(6, 1, 5), None, {})
    collect(str(tmp_path / "d.h5"), str(tmp_path / "p.safetensors"), episodes=2, env=Meaning(), num_workers=0)
    options = {"num_minibatches": 1, "dataset": str(tmp_path / "d.h5"), "num_workers": 0}
    learner = BCModule(6, 1, actor=lambda o, a: CategoricalActor(o, a, 5))
    with pytest.raises(UserError, match="are of control mode compass, but this environment has clock"):
        fit(learner, OfflineDataModule(Meaning(meaning="clock"), **options), 1)


class Asked(CategoricalActor):
    """Counts the observations of every question."""

    def log_prob(self, obs, action):
        self.sizes = [*getattr(self, "sizes", []), len(obs)]
        return super().log_prob(obs, action)


def test_of_recorded_pictures_few_become_features_at_once(rollouts):
    part, *_ = rollouts.collect(Chooser(), rollouts.initial_states(1), 1, 1, 0)
    rollout, actor = Rollout.cat([part] * (PICTURED + 3)), Asked(6, 1, 5)
    known = _with_log_prob(rollout, actor)
    assert actor.sizes == [PICTURED, 3]
    assert known.log_prob_known.all()
    assert torch.equal(known.log_prob[0], known.log_prob[-1])
