"""Gradient steps per second of offline IQL: our Lightning training and a reference loop that does what CORL's does.

    python -m tests.benchmarks.bench_iql [--updates 300] [--repeats 5] [--threads 1]

Both sides learn V and twin Q from the same 50,000 synthetic transitions of PickCube's shapes in minibatches of 256,
with equal networks (three tanh layers of 256), losses, Adam settings and target updates. Ours is what
configs/pretrain_iql.yaml trains with: FinetuneModule with IQL and CriticOnly, metrics and gradient clipping included
(at a norm that is never reached). The reference is a plain PyTorch loop with the steps of CORL's
algorithms/offline/iql.py without its actor: a replay buffer that is indexed with fresh random numbers, one Adam and one
backward pass each for V and Q, a loop over the target's tensors, losses read as numbers in every step. First the
weights of both after some updates on the same minibatches are compared (to 1e-4), then the two take turns and medians
are printed. The ratio ours / reference has the goal 1.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from itertools import islice
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlft.advantage import IQL
from rlft.data.minibatches import minibatches
from rlft.modules import FinetuneModule
from rlft.networks import ActionValueCritic
from rlft.types import BootstrappedBatch, Obs, Transition
from rlft.update import CriticOnly
from tests.benchmarks.training import begin, check_same, train

TRANSITIONS, BATCH, OBS, ACTION = 50_000, 256, 42, 8
LEARNING_RATE, EPS, GAMMA, EXPECTILE, POLYAK = 3e-4, 1e-5, 0.99, 0.7, 0.005


def main() -> None:
    args = begin(__doc__.splitlines()[0], updates=300, threads=1)
    np.random.seed(0)
    data = synthetic_transitions()
    check_same_weights(data)
    pairs = [(run_lightning(data, args.updates)[1], run_reference(data, args.updates)[1]) for _ in range(args.repeats)]
    print(f"Lightning            {median(args.updates / ours for ours, _ in pairs):8.1f} updates/s")
    print(f"reference            {median(args.updates / theirs for _, theirs in pairs):8.1f} updates/s")
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    print(f"ratio (goal 1)       {median(ratios):8.3f}   [{ratios[0]:.3f}, {ratios[-1]:.3f}]")


def synthetic_transitions() -> BootstrappedBatch:
    """Noise of PickCube's shapes; one transition in fifty terminates."""
    obs, next_obs = torch.randn(2, TRANSITIONS, OBS)
    action, zeros = torch.randn(TRANSITIONS, ACTION), torch.zeros(TRANSITIONS)
    ends = torch.rand(TRANSITIONS) < 0.02
    ahead = Transition(reward=ends.float(), next_obs=Obs(next_obs), discount=GAMMA * (~ends).float())
    unused = {"log_prob": zeros, "signal": zeros, "value": zeros, "value_target": zeros}
    return BootstrappedBatch(obs=Obs(obs), action=action, **unused, transition=ahead)


# ---- ours --------------------------------------------------------------------------------------------------------


def our_module() -> FinetuneModule:
    advantage = IQL(gamma=GAMMA, expectile=EXPECTILE, polyak=POLYAK)
    return FinetuneModule(OBS, ACTION, advantage, CriticOnly(), learning_rate=LEARNING_RATE, max_grad_norm=float("inf"))


def shuffled(data: BootstrappedBatch, updates: int) -> Iterator[BootstrappedBatch]:
    """Minibatches for at least `updates`, in passes that are newly shuffled."""
    return minibatches(data, TRANSITIONS // BATCH, updates, torch.Generator().manual_seed(0))


def run_lightning(data: BootstrappedBatch, updates: int) -> tuple[ActionValueCritic, float]:
    torch.manual_seed(0)
    module = our_module()
    seconds = train(module, shuffled(data, updates), updates)
    assert isinstance(module.critic, ActionValueCritic)
    return module.critic, seconds


# ---- the reference -----------------------------------------------------------------------------------------------


class ReplayBuffer:
    """Transitions as columns; a minibatch is a list of them at random rows, drawn with replacement."""

    def __init__(self, data: BootstrappedBatch) -> None:
        ends = (data.transition.discount == 0).float()[:, None]
        reward = data.transition.reward[:, None]
        self.columns = [data.obs.state, data.action, reward, data.transition.next_obs.state, ends]

    def sample(self) -> list[Tensor]:
        rows = np.random.randint(0, TRANSITIONS, size=BATCH)
        return [column[rows] for column in self.columns]


class Reference:
    """V, twin Q and its target with an optimiser each for V and Q."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        start = our_module().critic
        assert isinstance(start, ActionValueCritic)
        self.v, self.q = start.value, start.q
        self.target = copy.deepcopy(self.q).requires_grad_(False)
        self.v_optimizer = torch.optim.Adam(self.v.parameters(), lr=LEARNING_RATE, eps=EPS)
        self.q_optimizer = torch.optim.Adam(self.q.parameters(), lr=LEARNING_RATE, eps=EPS)
        self.losses: dict[str, float] = {}

    def update(self, batch: list[Tensor]) -> None:
        obs, action, reward, next_obs, ends = batch
        reward, ends = reward.squeeze(-1), ends.squeeze(-1)
        with torch.no_grad():
            next_v = self.v(next_obs).squeeze(-1)
        self._update_v(obs, action)
        self._update_q(next_v, obs, action, reward, ends)
        for target, weight in zip(self.target.parameters(), self.q.parameters(), strict=True):
            target.data.copy_((1 - POLYAK) * target.data + POLYAK * weight.data)

    def _update_v(self, obs: Tensor, action: Tensor) -> None:
        with torch.no_grad():
            target_q = torch.min(*both(self.target, obs, action))
        u = target_q - self.v(obs).squeeze(-1)
        loss = torch.mean(torch.abs(EXPECTILE - (u < 0).float()) * u**2)
        self.losses["value_loss"] = loss.item()
        self.v_optimizer.zero_grad()
        loss.backward()
        self.v_optimizer.step()

    def _update_q(self, next_v: Tensor, obs: Tensor, action: Tensor, reward: Tensor, ends: Tensor) -> None:
        target = reward + (1 - ends) * GAMMA * next_v
        loss = sum(functional.mse_loss(q, target) for q in both(self.q, obs, action))
        self.losses["q_loss"] = loss.item()
        self.q_optimizer.zero_grad()
        loss.backward()
        self.q_optimizer.step()


def both(networks: nn.ModuleList, obs: Tensor, action: Tensor) -> list[Tensor]:
    x = torch.cat([obs, action], 1)
    return [network(x).squeeze(-1) for network in networks]


def run_reference(data: BootstrappedBatch, updates: int) -> tuple[Reference, float]:
    reference, buffer = Reference(), ReplayBuffer(data)
    started = time.perf_counter()
    for _ in range(updates):
        reference.update(buffer.sample())
    return reference, time.perf_counter() - started


def check_same_weights(data: BootstrappedBatch, updates: int = 30) -> None:
    ours, reference, start = run_lightning(data, updates)[0], Reference(), Reference()
    for batch in islice(shuffled(data, updates), updates):
        reference.update(ReplayBuffer(batch).columns)
    networks = [(ours.value, ours.q, ours.target_q), *((side.v, side.q, side.target) for side in (reference, start))]
    weights = (nn.ModuleList(of_one_side).state_dict().values() for of_one_side in networks)
    check_same(*weights, updates, tolerance=1e-4)


if __name__ == "__main__":
    main()
