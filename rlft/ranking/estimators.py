"""Estimators of an action's advantage that look at the trajectories which follow it.

All estimate the same: the discounted rewards up to the horizon of `Simulator`, behind which every value is 0. What is
computed is `[N, J, M]`, one estimate per trajectory; the score of an action is their mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlft.ranking.simulation import Actions, Paths
from rlft.statistics.correlations import Array
from rlft.types import Obs

USUAL_LAMBDA = 0.95
LAMBDAS = (0.8, USUAL_LAMBDA, 1.0)
TD_STEPS = (1, 5, 20)
ROWS = 65_536  # per call of a critic
DECIMALS = 9  # of scores: sums that are equal on paper differ by less, and must tie

Value = Callable[[Obs], Tensor]  # a critic: observations [B] to values [B]


def rewards(actions: Actions, paths: Paths) -> Tensor:
    """Rewards of the action and of what followed it, `[1 + T, N, J, M]` float64; 0 after the end."""
    first = actions.reward[..., None].expand(paths.length.shape)
    return torch.cat([first[None], paths.reward]).double()


@torch.no_grad()
def values_after(value: Value, actions: Actions, paths: Paths) -> Tensor:
    """The critic's values of what those steps led to, `[1 + T, N, J, M]` float64; 0 from the last step on."""
    steps = torch.arange(len(paths.reward) + 1).view(-1, 1, 1, 1)
    goes_on = steps < paths.length  # [1 + T, N, J, M]
    after = torch.zeros(goes_on.shape, dtype=torch.float64)
    successor = values(value, actions.successors.obs).view(actions.reward.shape)  # [N, J]
    after[0] = torch.where(goes_on[0], successor[..., None], 0.0)
    after[1:][goes_on[1:]] = values(value, paths.next_obs[goes_on[1:]])
    return after


@torch.no_grad()
def values(value: Value, obs: Obs) -> Tensor:
    """The critic's values `[B]` float64 of `obs [B]`, a bounded number at a time."""
    return torch.cat([value(obs[i : i + ROWS]) for i in range(0, max(1, len(obs)), ROWS)]).double()


def monte_carlo(reward: Tensor, gamma: float) -> Tensor:
    """The discounted return: of `[1 + T, N, J, M]`, `[N, J, M]`."""
    discount = gamma ** torch.arange(len(reward), dtype=reward.dtype)
    return torch.einsum("t,t...->...", discount, reward)


def generalised_advantage(reward: Tensor, value: Tensor, after: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """GAE of the action, `[N, J, M]`: the sum of (gamma lambda)^t delta_t (Schulman et al. 2016, equation 16).

    Args:
        reward: `[1 + T, N, J, M]`.
        value: of the state, `[N]`.
        after: of the states that the steps led to, `[1 + T, N, J, M]`, 0 behind the end.
        gamma: discount per env step.
        gae_lambda: 0 trusts the critic after one step, 1 uses the whole return.
    """
    before = torch.cat([value[None, :, None, None].expand(reward[:1].shape), after[:-1]])  # [1 + T, N, J, M]
    delta = reward + gamma * after - before  # 0 behind the end
    return monte_carlo(delta, gamma * gae_lambda)


def temporal_difference(reward: Tensor, value: Tensor, after: Tensor, gamma: float, num_steps: int) -> Tensor:
    """The n-step temporal-difference error of the action, `[N, J, M]`; arguments as in `generalised_advantage`."""
    n = min(num_steps, len(reward))
    return monte_carlo(reward[:n], gamma) + gamma**n * after[n - 1] - value[:, None, None]


def score(estimate: Tensor, num_paths: int) -> Array:
    """Mean over the first trajectories of each action, `[N, J]`."""
    scores: Array = estimate[..., :num_paths].mean(-1).numpy().round(DECIMALS)
    return scores
