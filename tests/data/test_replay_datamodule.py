"""Of which data minibatches are made."""

import pytest
import torch

from rlft.data import ReplayDataModule
from rlft.data.replay_buffer import ReplayBuffer
from rlft.envs import PointReach
from tests.data.test_replay_buffer import experience


class Learner:
    """What batches are made for."""

    n_step, gamma = 1, 0.5

    def warms_up(self, iteration):
        return iteration == 0


def data(**options):
    """8 environments x 40 steps; the buffer has observations below 1000, the prior data those above."""
    module = ReplayDataModule(PointReach(), 8, 40, 10, 0.3, 64, num_workers=0, prior="demos.h5", **options)
    module.buffer.add(experience([0] * 50, terminated=[49]))
    module._prior = ReplayBuffer(50)
    module._prior.add(experience([0] * 50, first=1000))
    return module


@pytest.mark.parametrize(("share", "expected"), [(0.5, 32), (0.25, 16), (0.0, 0), (1.0, 64)])
def test_a_minibatch_has_exactly_its_share_of_prior_data(share, expected):
    batches = data(prior_share=share)._batches(Learner(), 1, 0, 5)
    assert [int((batch.obs.state >= 1000).sum()) for batch in batches] == [expected] * 5
    assert [len(batch) for batch in batches] == [64] * 5


def test_warming_up_is_about_the_start_policy_alone():
    (batch,) = data()._batches(Learner(), 0, 0, 1)
    assert (batch.obs.state < 1000).all()


def test_minibatches_are_addressed_by_seed_iteration_and_part():
    def drawn(seed, iteration, part):
        return data(seed=seed)._batches(Learner(), iteration, part, 1)[0].obs.state

    assert torch.equal(drawn(1, 1, 0), drawn(1, 1, 0))
    assert not any(torch.equal(drawn(1, 1, 0), drawn(*other)) for other in ((2, 1, 0), (1, 2, 0), (1, 1, 1)))


def test_an_iteration_has_its_updates_whatever_its_parts():
    module = ReplayDataModule(PointReach(), 8, 40, 10, 0.3, 64, num_workers=0)
    assert (module.updates, len(module.train_dataloader())) == (96, 96)
