"""Of which data minibatches are made."""

import pytest
import torch

from rlft.data import ReplayDataModule
from rlft.data.replay_buffer import ReplayBuffer
from rlft.data.reward_normalization import RewardNormalization
from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.types import CalibratedBatch, ReplayBatch, ReturnBatch
from tests.data.test_replay_buffer import experience


class Learner:
    """What batches are made for."""

    n_step, gamma, warmup, needs_returns, horizon, bootstrap_at_done = 1, 0.5, "returns", False, 0, "truncation"

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


def test_offline_everything_is_prior_data_and_warming_up_comes_after_it():
    module = data(prior_share=0.0, offline_iterations=2)
    parts = [module._batches(Learner(), iteration, 0, 3) for iteration in (0, 1, 2, 3)]
    prior = [int((batch.obs.state >= 1000).sum()) for batches in parts for batch in batches]
    assert prior == [64] * 6 + [0] * 6
    assert [type(batches[0]) for batches in parts] == [ReplayBatch, ReplayBatch, ReturnBatch, ReplayBatch]


def test_returns_come_with_transitions_if_the_learner_asks_for_them():
    class Asking(Learner):
        needs_returns = True

    (batch,) = data()._batches(Asking(), 1, 0, 1)
    assert isinstance(batch, CalibratedBatch)
    of_prior = batch.obs.state[:, 0] >= 1000
    assert (batch.returned[~of_prior] == 0).all()  # it has ended
    assert (batch.returned[of_prior] == -torch.inf).all()  # it has not


def test_returns_of_prior_data_count_as_their_rewards_do_also_after_more_has_been_collected():
    class Asking(Learner):
        needs_returns = True

    module = data(prior_share=1.0, reward_normalization=RewardNormalization())
    module.rewards.normalization.begin(0.5)
    module._prior = ReplayBuffer(2, module.rewards.counted)
    module._prior.add(experience([4, 8], terminated=[1], first=1000))
    module.rewards.add_apart(module._prior.whole)
    for reward in (0.0, 100.0):
        module._keep(experience([reward] * 10))
        (batch,) = module._batches(Asking(), 1, 0, 1)
        last = batch.obs.state[:, 0] == 1001
        torch.testing.assert_close(batch.returned[last], batch.transition.reward[last])
        torch.testing.assert_close(batch.returned[~last], batch.transition.reward[~last] * (1 + 0.5 * 8 / 4))


def test_the_learner_says_whether_something_follows_a_termination():
    class Always(Learner):
        bootstrap_at_done = "always"

    for learner, least in ((Learner(), 0.0), (Always(), 0.5)):
        batches = data()._batches(learner, 1, 0, 5)
        assert min(float(batch.transition.discount.min()) for batch in batches) == least


def test_being_offline_takes_prior_data():
    with pytest.raises(UserError, match=r"data.offline_iterations is 1, but there is no data.prior"):
        ReplayDataModule(PointReach(), 8, 40, 10, 0.3, 64, num_workers=0, offline_iterations=1)


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
