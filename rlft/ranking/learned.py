"""Networks that score actions, trained on what a study simulates: regression as usual, and two fair controls."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, mse_loss

from rlft.advantage.gae import gae
from rlft.errors import UserError
from rlft.networks.mlp import MLP
from rlft.networks.moments import moments
from rlft.ranking.estimators import Value, values
from rlft.types import Obs, Rollout

HELD_OUT = 0.1  # share of environments, or of states, that only stop the training
EPOCHS, PATIENCE, LEARNING_RATE = 100, 8, 1e-3
TRANSITIONS, STATES = 1024, 32  # per minibatch of the regressions and of the controls


class Scalar(nn.Module):
    """A number as a function of observations, or of observations and actions: an MLP on standardised inputs.

    Args:
        obs: examples `[B]`, whose mean and standard deviation standardise all others.
        action: the same `[B, A]`; none for a function of observations.
        hidden_dim: width of the three hidden layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, obs: Obs, *action: Tensor, hidden_dim: int = 256) -> None:
        super().__init__()
        examples = torch.cat([obs.state, *action], -1).flatten(0, -2)  # [B, I]
        mean, scale = moments(examples)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = MLP(examples.shape[-1], 1, (hidden_dim,) * 3, output_gain=1.0)

    def forward(self, obs: Obs, *action: Tensor) -> Tensor:
        """`[...]` of observations `[...]` and actions `[..., A]`."""
        standardised = (torch.cat([obs.state, *action], -1) - self.mean) / self.scale
        output: Tensor = self.layers(standardised).squeeze(-1)
        return output


def fit(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    train: Tensor,
    held_out: Tensor,
    batch_size: int,
    seed: int,
) -> None:
    """Minimises `loss` of rows `train` until that of rows `held_out` stops falling, and keeps the best weights."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    best, waited, weights = float("inf"), 0, copy.deepcopy(network.state_dict())
    for _ in range(EPOCHS):
        order = train[torch.randperm(len(train), generator=generator)]
        for first in range(0, len(order), batch_size):
            optimizer.zero_grad()
            loss(order[first : first + batch_size]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            error = float(loss(held_out))
        if error < best:
            best, waited, weights = error, 0, copy.deepcopy(network.state_dict())
        else:
            waited += 1
        if waited == PATIENCE:
            break
    network.load_state_dict(weights)


def returns_to_go(rollout: Rollout, gamma: float, horizon: int) -> tuple[Tensor, Tensor]:
    """Discounted rewards of the rest of each step's episode, `[T, N]`, and where they are known, `[T, N]` bool.

    They are known of steps with `horizon` more behind them in the rollout, after which nothing counts any more. Near
    the rollout's end none are, not even of episodes that end in time: only the short ones would be known.
    """
    zeros = torch.zeros_like(rollout.reward)
    returns = gae(rollout.reward, zeros, zeros, rollout.done, gamma, gae_lambda=1.0)
    long_enough = torch.arange(len(returns), 0, -1) >= horizon  # [T]
    return returns, long_enough[:, None].expand_as(rollout.done)


class Regressions:
    """Networks regressed on a rollout of the policy, whole environments held out.

    Args:
        rollout: `[T, N]`.
        gamma: discount per env step.
        horizon: env steps behind which nothing counts.
        seed: of the initial weights and the order of minibatches.

    Raises:
        UserError: if the rollout is too short to know any returns.
    """

    def __init__(self, rollout: Rollout, gamma: float, horizon: int, seed: int) -> None:
        self.rollout, self.gamma, self.seed = rollout, gamma, seed
        self.returns, known = returns_to_go(rollout, gamma, horizon)
        self.known = known.flatten()  # [T N]
        self.obs, self.action = flattened(rollout.obs), rollout.action.flatten(0, 1)
        num_envs = rollout.reward.shape[1]
        env = torch.arange(len(self.obs)) % num_envs
        trains = env < num_envs - max(1, round(HELD_OUT * num_envs))
        self.train, self.held_out = ((self.known & part).nonzero().flatten() for part in (trains, ~trains))
        if not (len(self.train) and len(self.held_out)):
            raise UserError(
                f"training_steps is {len(rollout)}, but only returns of {horizon} steps are known; raise it."
            )

    def value(self) -> Scalar:
        """V(s), on Monte-Carlo returns."""
        return self._regressed(self.returns)

    def action_value(self) -> Scalar:
        """Q(s, a), on Monte-Carlo returns."""
        return self._regressed(self.returns, self.action)

    def advantage(self, value: Value, gae_lambda: float) -> Scalar:
        """A(s, a), on GAE with critic `value`."""
        shape, rollout = self.rollout.reward.shape, self.rollout
        before = values(value, self.obs).view(shape)
        after = values(value, flattened(rollout.next_obs)).view(shape).masked_fill(rollout.done, 0.0)
        target = gae(rollout.reward.double(), before, after, rollout.done, self.gamma, gae_lambda)
        return self._regressed(target.float(), self.action)

    def _regressed(self, target: Tensor, *action: Tensor) -> Scalar:
        torch.manual_seed(self.seed)
        network = Scalar(self.obs[self.train], *(part[self.train] for part in action))
        target = target.flatten()
        fit(
            network,
            lambda rows: mse_loss(network(self.obs[rows], *(part[rows] for part in action)), target[rows]),
            self.train,
            self.held_out,
            TRANSITIONS,
            self.seed,
        )
        return network


def flattened(obs: Obs) -> Obs:
    """`[T N]` of `[T, N]`."""
    return obs.map(lambda part: part.flatten(0, 1))


def for_each_action(obs: Obs, action: Tensor) -> Obs:
    """Observations `[N]` as `[N, J]`, for actions `[N, J, A]`."""
    return obs.map(lambda part: part[:, None].expand(*action.shape[:2], *part.shape[1:]))


def dueling(obs: Obs, action: Tensor, q: Tensor, seed: int) -> Scalar:
    """The advantage of Q(s, a) = V(s) + A(s, a) - mean_a A(s, a), regressed on Q of several actions in each state.

    Wang et al. 2016, "Dueling Network Architectures", equation 9, where the mean is over all actions.

    Args:
        obs: `[N]`.
        action: `[N, J, A]`.
        q: `[N, J]`.
        seed: of the initial weights and the order of minibatches.
    """
    torch.manual_seed(seed)
    obs = for_each_action(obs, action)  # [N, J]
    advantage, value = Scalar(obs, action), Scalar(obs[:, 0])

    def loss(rows: Tensor) -> Tensor:
        a = advantage(obs[rows], action[rows])  # [B, J]
        return mse_loss(value(obs[rows, 0])[:, None] + a - a.mean(1, keepdim=True), q[rows])

    fit(nn.ModuleList([advantage, value]), loss, *_split(len(obs)), STATES, seed)
    return advantage


def pairwise(obs: Obs, action: Tensor, q: Tensor, seed: int) -> Scalar:
    """Scores trained on nothing but the order of the actions of a state; arguments as in `dueling`.

    Burges et al. 2005, "Learning to Rank using Gradient Descent": -log sigmoid((f_j - f_k) sign(q_j - q_k)) for all
    pairs of actions of a state.
    """
    torch.manual_seed(seed)
    obs = for_each_action(obs, action)  # [N, J]
    network = Scalar(obs, action)

    def loss(rows: Tensor) -> Tensor:
        score = network(obs[rows], action[rows])  # [B, J]
        order = (q[rows, :, None] - q[rows, None]).sign()  # [B, J, J]
        difference = score[:, :, None] - score[:, None]
        return -(logsigmoid(difference * order) * order.abs()).sum() / order.abs().sum().clamp(min=1)

    fit(network, loss, *_split(len(obs)), STATES, seed)
    return network


def _split(count: int) -> tuple[Tensor, Tensor]:
    """Rows to train on and rows held out; every tenth, because states are in the order of elapsed time."""
    rows, every = torch.arange(count), round(1 / HELD_OUT)
    held_out = rows % every == every // 2
    return rows[~held_out], rows[held_out]
