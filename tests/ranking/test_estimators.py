import numpy as np
import pytest
import torch

from rlft.advantage.gae import gae
from rlft.ranking.estimators import (
    generalised_advantage,
    monte_carlo,
    rewards,
    score,
    temporal_difference,
    values,
    values_after,
)
from rlft.statistics.correlations import within_state
from rlft.types import Obs
from tests.support.ranking import random_trajectories

GAMMA = 0.9


def critic(obs):
    return 3 * obs.state[..., 0] + 1


@pytest.fixture(scope="module")
def data():
    return random_trajectories()


@pytest.fixture(scope="module")
def tensors(data):
    """Rewards, values of the states, values behind every step."""
    actions, paths = data
    return rewards(actions, paths), values(critic, actions.obs), values_after(critic, actions, paths)


def steps_of(data, i, j, m):
    """One trajectory as lists: rewards, and the values before and after each step; 0 behind the last."""
    actions, paths = data
    length = int(paths.length[i, j, m])
    successor = actions.successors.obs.state.view(*actions.reward.shape, -1)[i, j]
    reached = [successor, *paths.next_obs.state[:length, i, j, m]]
    reward = [float(actions.reward[i, j]), *paths.reward[:length, i, j, m].tolist()]
    value = [float(critic(Obs(state))) for state in [actions.obs.state[i], *reached]]
    return reward, value[:-1], [*value[1:-1], 0.0]


def everywhere(estimate, data, reference):
    for place in np.ndindex(*estimate.shape):
        assert float(estimate[place]) == pytest.approx(reference(*steps_of(data, *place)), abs=1e-5)


def test_monte_carlo_is_the_discounted_return(data, tensors):
    everywhere(monte_carlo(tensors[0], GAMMA), data, lambda r, v, w: sum(GAMMA**t * x for t, x in enumerate(r)))


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 1.0])
def test_gae_is_that_of_training(gae_lambda, data, tensors):
    def reference(reward, before, after):
        columns = (torch.tensor(x, dtype=torch.float32)[:, None] for x in (reward, before, after))
        going_on = torch.zeros(len(reward), 1, dtype=torch.bool)
        return float(gae(*columns, going_on, GAMMA, gae_lambda)[0])

    everywhere(generalised_advantage(*tensors, GAMMA, gae_lambda), data, reference)


@pytest.mark.parametrize("n", [1, 2, 4, 100])
def test_temporal_differences_look_n_steps_ahead(n, data, tensors):
    def reference(reward, before, after):
        ahead = min(n, len(reward))
        rest = GAMMA**n * after[n - 1] if n <= len(reward) else 0.0
        return sum(GAMMA**t * x for t, x in enumerate(reward[:ahead])) + rest - before[0]

    everywhere(temporal_difference(*tensors, GAMMA, n), data, reference)


@pytest.mark.parametrize("count", [1, 2])
def test_gae_at_lambda_one_ranks_exactly_as_monte_carlo_on_the_same_trajectories(count):
    """For an arbitrary V: it is common to the actions of a state (section 9.5)."""
    data = random_trajectories(states=200, actions=8)
    reward = rewards(*data)
    returns = score(monte_carlo(reward, GAMMA), count)
    returns[:, :3] = returns[:, :1]  # ties stay ties
    reward[0, :, :3] += torch.from_numpy(returns[:, :1, None]) - monte_carlo(reward, GAMMA)[:, :3]
    value, after = values(critic, data[0].obs), values_after(critic, *data)
    found = within_state(score(generalised_advantage(reward, value, after, GAMMA, 1.0), count), returns)
    assert found.dropped == 0
    assert found.spearman.value == found.kendall.value == found.top1.value == 1.0


def test_other_lambdas_do_not():
    data = random_trajectories(states=200, actions=8)
    reward, value, after = rewards(*data), values(critic, data[0].obs), values_after(critic, *data)
    returns = score(monte_carlo(reward, GAMMA), 1)
    found = within_state(score(generalised_advantage(reward, value, after, GAMMA, 0.5), 1), returns)
    assert found.spearman.value < 0.9


def test_nothing_follows_where_the_horizon_is_zero():
    actions, paths = random_trajectories(steps=0)
    reward, after = rewards(actions, paths), values_after(critic, actions, paths)
    assert torch.equal(monte_carlo(reward, 0.0), reward[0])
    assert after.shape == reward.shape
    assert after.eq(0).all()


def test_scores_average_the_first_trajectories():
    estimate = torch.tensor([[[1.0, 3.0, 8.0]]])
    assert [float(score(estimate, count)[0, 0]) for count in (1, 2, 3)] == [1, 2, 4]
