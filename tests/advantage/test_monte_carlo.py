import pytest
import torch

from rlft.advantage import GAE, MonteCarlo
from tests.support.hand_made import ObsCritic, random_rollout, rollout_of


@pytest.mark.parametrize("bootstrap_at_done", ["truncation", "always", "never"])
def test_is_gae_at_lambda_one(bootstrap_at_done):
    rollout = random_rollout()
    options = {"gamma": 0.9, "bootstrap_at_done": bootstrap_at_done, "reward_scale": 0.5}
    ours = MonteCarlo(**options).estimate(rollout, ObsCritic(), None)
    theirs = GAE(gae_lambda=1.0, **options).estimate(rollout, ObsCritic(), None)
    assert torch.equal(ours.advantage, theirs.advantage)
    assert torch.equal(ours.value_target, theirs.value_target)


def success_at_the_end(steps, value=0.0):
    last = [0.0] * (steps - 1) + [1.0]
    return rollout_of(last, [value] * steps, [value] * steps, terminated=[bool(r) for r in last])


def test_return_of_a_success_after_T_steps():
    # Nothing but the last reward counts: G_t = gamma^(T-1-t)
    estimate = MonteCarlo(gamma=0.8).estimate(success_at_the_end(20, value=3.0), ObsCritic(), None)
    assert estimate.value_target[:, 0].tolist() == pytest.approx([0.8 ** (19 - t) for t in range(20)], abs=1e-6)
    assert torch.allclose(estimate.advantage, estimate.value_target - 3.0)


@pytest.mark.parametrize(("gamma", "mean"), [(0.8, 0.2471), (0.99, 0.9105)])
def test_mean_return_of_a_success_after_20_steps(gamma, mean):
    # (1 - gamma^20) / (20 (1 - gamma))
    estimate = MonteCarlo(gamma=gamma).estimate(success_at_the_end(20), ObsCritic(), None)
    assert estimate.value_target.mean().item() == pytest.approx(mean, abs=5e-5)


#       finished at 1 and running; never finished; truncated with the last step
DONE = [[False, False, False], [True, False, False], [False, False, False], [False, False, True]]


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_drop_leaves_out_exactly_the_unfinished_steps(how):
    zeros = [[0.0] * 3] * 4
    rollout = rollout_of(zeros, zeros, zeros, **{how: DONE})
    expected = [[True, False, True], [True, False, True], [False, False, True], [False, False, True]]
    assert MonteCarlo(tail="drop").estimate(rollout, ObsCritic(), None).mask.tolist() == expected
    assert MonteCarlo(tail="bootstrap").estimate(rollout, ObsCritic(), None).mask.all()


def test_what_drop_keeps_does_not_depend_on_the_critic():
    terminated = [[False, False]] * 3 + [[True, False]] + [[False, False]]
    first, second = (
        MonteCarlo(tail="drop").estimate(
            rollout_of([[1.0, 2.0]] * 5, [[value] * 2] * 5, [[value] * 2] * 5, terminated), ObsCritic(), None
        )
        for value in (0.0, 7.0)
    )
    kept = first.mask
    assert kept.sum() == 4
    assert torch.allclose(first.value_target[kept], second.value_target[kept])
    assert not torch.isclose(first.value_target[~kept], second.value_target[~kept]).any()
