import dataclasses

import pytest
import torch

from rlft.advantage import IQL, SARSA
from tests.support.chain import VALUE
from tests.support.tabular import chain_of_mu, learn, values


def test_v_is_that_of_the_policy_that_acted():
    critic = learn(SARSA(polyak=0.1), chain_of_mu())
    assert values(critic) == pytest.approx(list(VALUE.values()), abs=1e-3)


def test_q_is_that_of_the_policy_that_acted():
    rollout = chain_of_mu()
    critic = learn(SARSA(polyak=0.1), rollout)
    q = critic.target_action_value(rollout.obs, rollout.action)[0]
    # one step from the goal: 1 and 0.8 V(1); two steps: 0.8 V(1) and 0.8 V(2)
    assert q[:4].tolist() == pytest.approx([1.0, 0.6667, 0.6667, 0.4444], abs=1e-3)


def test_v_is_the_mean_over_actions_as_often_as_they_were_taken():
    rollout = chain_of_mu()
    often = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5])  # with one step to go, move in three cases of four
    mostly_moving = type(rollout)(**{f.name: getattr(rollout, f.name)[:, often] for f in dataclasses.fields(rollout)})
    # V(1) = p / (1 - gamma (1 - p)) at p = 0.75
    assert values(learn(SARSA(polyak=0.1), mostly_moving))[0] == pytest.approx(0.9375, abs=1e-3)


@pytest.mark.parametrize("single_q", [False, True])
def test_it_is_iql_at_expectile_one_half(single_q):
    ours = learn(SARSA(n_step=2, single_q=single_q, polyak=0.1), chain_of_mu(), steps=20)
    theirs = learn(IQL(expectile=0.5, n_step=2, single_q=single_q, polyak=0.1), chain_of_mu(), steps=20)
    assert values(ours) == values(theirs)
