"""Gradient steps per second of IQN: our Lightning training and a plain PyTorch loop that does the same.

    python -m tests.benchmarks.bench_iqn [--updates 30] [--repeats 5] [--threads 2]

Both sides learn of the same minibatches of 256 synthetic transitions, with pictures of 64 x 64, 20 numbers and five
choices, and a network of half the published size: 8 levels, double Q, soft targets, clipped gradients, RAdam. First
the weights of both after some updates are compared (to 1e-5), then the two take turns and medians are printed. The
ratio Lightning / plain has the goal 0.95. Last, acting: decisions per second of 64 environments.
"""

from __future__ import annotations

import copy
import time
from itertools import cycle
from statistics import median

import torch
from torch import Tensor

from rlft.modules import IQNModule
from rlft.networks import EpsilonGreedy, QuantileActor
from rlft.networks.action_values import frozen_copy
from rlft.rollout.worker import decide
from rlft.types import Obs, ReplayBatch, Transition, generator_at
from tests.benchmarks.training import begin, check_same, train

OBS, CHOICES, IMAGE, BATCH, MINIBATCHES, LEVELS = 20, 5, (1, 64, 64), 256, 8, 8
RATE, KAPPA, SCALE, POLYAK, CLIP = 3e-4, 0.01, 0.01, 0.005, 30.0


def main() -> None:
    args = begin(__doc__.splitlines()[0], updates=30, threads=2)
    start, batches = Module(OBS, 1, network, kappa=KAPPA, reward_scale=SCALE), synthetic_batches()
    check_same_weights(start, batches)
    pairs = [
        (run_lightning(start, batches, args.updates)[1], run_plain(start, batches, args.updates)[1])
        for _ in range(args.repeats)
    ]
    print(f"Lightning            {median(args.updates / ours for ours, _ in pairs):8.2f} updates/s")
    print(f"plain PyTorch        {median(args.updates / plain for _, plain in pairs):8.2f} updates/s")
    ratios = sorted(plain / ours for ours, plain in pairs)
    print(f"ratio (goal 0.95)    {median(ratios):8.3f}   [{ratios[0]:.3f}, {ratios[-1]:.3f}]")
    print(f"samples              {BATCH * median(args.updates / ours for ours, _ in pairs):8.0f} /s")
    print(f"acting               {decisions_per_second(start.actor):8.0f} decisions/s")


class Module(IQNModule):
    """Without an environment."""

    def setup(self, stage: str) -> None:
        """Nothing is to be learned of the data."""


def network(obs_dim: int, action_dim: int) -> QuantileActor:
    return QuantileActor(obs_dim, action_dim, CHOICES, IMAGE, float_dim=64, head_dim=256, act_quantiles=8)


def observations(count: int) -> Obs:
    return Obs(torch.randn(count, OBS), torch.randint(256, (count, *IMAGE), dtype=torch.uint8))


def synthetic_batches() -> list[ReplayBatch]:
    batches = []
    for _ in range(MINIBATCHES):
        ahead = Transition(torch.randn(BATCH), observations(BATCH), torch.full((BATCH,), 0.97))
        batches.append(ReplayBatch(observations(BATCH), torch.randint(CHOICES, (BATCH, 1)), ahead))
    return batches


def run_lightning(start: Module, batches: list[ReplayBatch], updates: int) -> tuple[Module, float]:
    torch.manual_seed(0)
    module = copy.deepcopy(start)
    return module, train(module, cycle(batches), updates)


class Plain:
    """The same network, and everything that an update needs, in the order in which it is needed."""

    def __init__(self, start: Module) -> None:
        torch.manual_seed(0)
        self.module = copy.deepcopy(start)
        self.actor = self.module.actor
        self.target = frozen_copy(self.actor)
        self.weights, self.copies = list(self.actor.parameters()), dict(self.target.named_buffers())
        self.optimizer = torch.optim.RAdam(self.weights, lr=RATE, eps=1e-4, foreach=True)
        self.noise = generator_at([torch.initial_seed(), 0])

    def levels(self) -> Tensor:
        return (torch.arange(LEVELS) + torch.rand(BATCH, LEVELS, generator=self.noise)) / LEVELS

    def update(self, batch: ReplayBatch) -> None:
        with torch.no_grad():
            ahead, tau = batch.transition, self.levels()
            following = self.target.quantiles(ahead.next_obs, tau)
            best = self.actor.quantiles(ahead.next_obs, tau).mean(1).argmax(-1)
            following = following[torch.arange(BATCH), :, best]
            target = SCALE * ahead.reward[:, None] + ahead.discount[:, None] * following
        tau = self.levels()
        predicted = self.actor.quantiles(batch.obs, tau)[torch.arange(BATCH), :, batch.action[:, 0]]
        error = target[:, None] - predicted[..., None]
        huber = torch.where(error.abs() <= KAPPA, 0.5 * error**2, KAPPA * (error.abs() - 0.5 * KAPPA)) / KAPPA
        loss = ((tau[..., None] - (error < 0).float()).abs() * huber).mean(2).sum(1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, CLIP)
        self.optimizer.step()
        with torch.no_grad():
            copies = [self.copies[name] for name, _ in self.actor.named_parameters()]
            torch._foreach_lerp_(copies, self.weights, POLYAK)


def run_plain(start: Module, batches: list[ReplayBatch], updates: int) -> tuple[Module, float]:
    plain = Plain(start)
    started = time.perf_counter()
    for i in range(updates):
        plain.update(batches[i % len(batches)])
    return plain.module, time.perf_counter() - started


def check_same_weights(start: Module, batches: list[ReplayBatch], updates: int = 12) -> None:
    ours, plain = run_lightning(start, batches, updates)[0], run_plain(start, batches, updates)[0]
    check_same(ours.actor.parameters(), plain.actor.parameters(), start.actor.parameters(), updates, tolerance=1e-5)


@torch.no_grad()
def decisions_per_second(actor: QuantileActor, repeats: int = 20) -> float:
    exploring = EpsilonGreedy(actor, 0.1, 0.0, 0.0)
    obs, noise = observations(64), torch.randn(64, exploring.noise_dim)
    started = time.perf_counter()
    for _ in range(repeats):
        decide(exploring, obs, noise)
    return repeats * 64 / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
