import pytest
import torch

from rlft.advantage import GAE
from rlft.callbacks import DeterministicEval
from rlft.update import PPO
from tests.support.training import MemoryLogger, data, fit, module


@pytest.mark.parametrize("seed", [1, 2])
def test_ppo_learns_to_reach_the_goal(seed):
    torch.manual_seed(seed)
    logger = MemoryLogger()
    sizes = {"num_envs": 64, "num_steps": 20, "num_minibatches": 4, "update_epochs": 10}
    model = module(advantage=GAE(gamma=0.9), update=PPO(target_kl=None), learning_rate=3e-3)
    fit(model, data(**sizes, seed=seed), 30, [DeterministicEval(100, every_n_iterations=30)], logger)
    (_, start), (_, end) = logger.series("eval/success_rate")
    assert start < 0.3
    assert end > 0.8
