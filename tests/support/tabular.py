"""Critics learned by the real estimators on few, one-hot states, where every value is known."""

import dataclasses

import torch
from torch.nn.functional import one_hot

from rlft.networks import ValueCritic
from rlft.types import Batch, Obs
from tests.support.chain import Chain, one_step
from tests.support.hand_made import rollout_of


def with_one_hot_states(rollout, num_states):
    """The same rollout; its states, numbered from 0, become one-hot; any other number is never looked at."""

    def encode(obs):
        return Obs(one_hot(obs.state[..., 0].long().clamp(0, num_states - 1), num_states).float())

    return dataclasses.replace(rollout, obs=encode(rollout.obs), next_obs=encode(rollout.next_obs))


def chain_of_mu():
    """Each state of the chain, 1, 2 and 3 steps from the goal, with moving and staying equally often."""
    rollout, _ = one_step(Chain(), [1, 1, 2, 2, 3, 3], [1.0, -1.0] * 3)
    one_less = {name: getattr(rollout, name).map(lambda number: number - 1) for name in ("obs", "next_obs")}
    shifted = dataclasses.replace(rollout, **one_less)
    return with_one_hot_states(shifted, 3)


def walk(reward, ends, how):
    """One episode through states 0, 1, 2, ..., without choice; its last step ends it by `how`, if `ends`."""
    states = torch.arange(len(reward) + 1.0)
    done = [False] * (len(reward) - 1) + [ends]
    return with_one_hot_states(rollout_of(reward, states[:-1], states[1:], **{how: done}), len(reward) + 1)


def learn(estimator, rollout, steps=600):
    """The critic that `estimator` learns from `rollout`."""
    torch.manual_seed(0)
    obs_dim, action_dim = rollout.obs.state.shape[-1], rollout.action.shape[-1]
    critic = estimator.adapt(ValueCritic(obs_dim, 32, 1), obs_dim, action_dim)
    batch = batch_of_rollout(estimator, rollout, critic)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    for _ in range(steps):
        loss, _ = estimator.critic_loss(critic, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        estimator.after_step(critic)
        schedule.step()
    return critic


@torch.no_grad()
def batch_of_rollout(estimator, rollout, critic):
    """All transitions as the data module would serve them."""
    estimate = estimator.estimate(rollout, critic, None)
    batch = Batch(
        obs=rollout.obs,
        action=rollout.action,
        log_prob=rollout.log_prob,
        signal=estimate.advantage,
        value=estimate.value,
        value_target=estimate.value_target,
    )
    return estimator.extend(batch, rollout)[estimate.mask]


def values(critic):
    """V of every state."""
    size = critic.value.input_dim
    return critic(Obs(torch.eye(size))).tolist()
