"""Policies succeed as often in the batch as in stock ManiSkill environments."""

import pytest
import torch

from rlft.envs import ManiSkill
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts
from rlft.statistics.rates import wilson
from rlft.types import Obs
from tests.support.stock_maniskill import make_stock

pytestmark = [pytest.mark.maniskill, pytest.mark.slow]


@torch.no_grad()
def stock_successes(actor, episodes) -> int:
    env = make_stock(ManiSkill(), seed=0)
    count = 0
    for episode in range(episodes):
        obs, _ = env.reset(seed=episode)
        success = False
        for _ in range(50):
            obs, _, _, _, info = env.step(actor(Obs(obs)).clamp(-1, 1))
            success |= bool(info["success"])
        count += success
    return count


def test_success_agrees_with_stock():
    """Of a policy that succeeds in about half of its episodes, as small differences show there."""
    actor, episodes = load_policy("pickcube/weak").actor, 60
    stock = wilson(stock_successes(actor, episodes), episodes)
    ours = LocalRollouts(ManiSkill(), 50).evaluate(actor, 100, seed=7, deterministic=True)
    batch = wilson(int(ours.success_once.sum()), 100)
    assert stock[0] <= batch[1], (stock, batch)
    assert batch[0] <= stock[1], (stock, batch)
