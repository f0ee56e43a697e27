"""What several test modules need: hand-made rollouts, critics with known values, runs of the real command line."""

from pathlib import Path

import torch
from torch import nn

from rlft.networks import DiagonalGaussianActor
from rlft.networks.distributions import DiagonalGaussian
from rlft.types import AdvantageEstimate, Batch, Critic, Obs, Rollout

REPO = Path(__file__).parents[2]


class ObsCritic(Critic):
    """V(s) is the first number of the observation, so that a test can write down the values it wants."""

    def forward(self, obs):
        return obs.state[..., 0]


def gaussian_log_prob(action, mean, log_std):
    """The log density of a diagonal Gaussian."""
    return DiagonalGaussian(mean, log_std).log_prob(action)


class ConstantActor(DiagonalGaussianActor):
    """Always the same mean action."""

    def __init__(self, mean, log_std=-0.5):
        super().__init__(1, torch.full((len(mean),), log_std))
        self.action = torch.tensor(mean)

    def forward(self, obs):
        return self.action.expand(*obs.shape, -1)


def rows(values):
    """`[T, N]` from a tensor, or from a list over time of numbers (N = 1) or of lists over environments."""
    tensor = torch.as_tensor(values)
    return tensor[:, None] if tensor.ndim == 1 else tensor


def rollout_of(reward, value, next_value, terminated=None, truncated=None):
    """A rollout whose `ObsCritic` values are `value` and `next_value`; all arguments as in `rows`."""
    reward, value, next_value = rows(reward), rows(value), rows(next_value)
    nothing = torch.zeros(reward.shape, dtype=torch.bool)
    return Rollout(
        obs=Obs(value[..., None]),
        action=torch.zeros(*reward.shape, 1),
        log_prob=torch.zeros_like(reward),
        log_prob_known=torch.ones(reward.shape, dtype=torch.bool),
        next_obs=Obs(next_value[..., None]),
        reward=reward,
        terminated=nothing if terminated is None else rows(terminated),
        truncated=nothing if truncated is None else rows(truncated),
        success=nothing,
        elapsed=torch.zeros(reward.shape, dtype=torch.int64),
    )


def random_rollout(steps=30, envs=4, seed=0):
    """Random rewards and values; about one step in six ends an episode, by termination or by truncation."""
    reward, value, next_value, a, b = torch.randn(5, steps, envs, generator=torch.Generator().manual_seed(seed))
    terminated, truncated = a > 1.4, (b > 1.4) & (a <= 1.4)
    goes_on = ~(terminated | truncated)[:-1]
    next_value[:-1] = torch.where(goes_on, value[1:], next_value[:-1])
    return rollout_of(reward, value, next_value, terminated, truncated)


def estimate_of(advantage, mask=None):
    """An estimate with these advantages, as in `rows`; all of them known unless a mask says otherwise."""
    advantage = rows(advantage)
    mask = torch.ones_like(advantage, dtype=torch.bool) if mask is None else rows(mask)
    return AdvantageEstimate(advantage, advantage, advantage, mask, {})


def batch_of(obs, action, log_prob, signal, value, value_target):
    """A minibatch for losses that do not look at where actions led."""
    return Batch(obs=obs, action=action, log_prob=log_prob, signal=signal, value=value, value_target=value_target)


def batch_without_obs(action, signal, log_prob=None):
    """A minibatch of actions `[B]` or `[B, A]` in one and the same state."""
    action = action[:, None] if action.ndim == 1 else action
    zeros = torch.zeros(len(action))
    return batch_of(Obs(zeros[:, None]), action, zeros if log_prob is None else log_prob, signal, zeros, zeros)


class BiasActor(DiagonalGaussianActor):
    """A Gaussian that ignores the observation; its mean is a parameter."""

    def __init__(self, mean, log_std=0.0):
        super().__init__(1, torch.full((len(mean),), log_std))
        self.bias = nn.Parameter(torch.tensor(mean))

    def forward(self, obs):
        return self.bias.expand(*obs.shape, -1)


def random_batch(size, obs_dim, action_dim, seed=0, log_prob_of=None):
    """A minibatch of noise; `log_prob` as under the actor `log_prob_of`, moved so that some ratios are clipped."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    obs, action = Obs(draw(size, obs_dim)), draw(size, action_dim)
    log_prob = draw(size)
    if log_prob_of is not None:
        normal = torch.distributions.Normal(log_prob_of(obs), log_prob_of.log_std.exp())
        log_prob = normal.log_prob(action).sum(-1).detach() + 0.3 * draw(size)
    return batch_of(obs, action, log_prob, signal=draw(size), value=draw(size), value_target=draw(size))


def weights_of(module):
    """A copy of all parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def same(first, second, prefix=""):
    """Whether two dictionaries of tensors are bit-identical where the name starts with `prefix`."""
    names = [name for name in first if name.startswith(prefix)]
    assert names
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in names)


def is_sentence(text):
    """One line, complete, for a person."""
    return "\n" not in text.strip() and text.strip().endswith(".") and len(text.split()) > 3
