"""Gradient steps per second off-policy: our Lightning training and a plain PyTorch loop that does the same.

    python -m tests.benchmarks.bench_off_policy [--updates 400] [--repeats 5] [--threads 2]

Both sides learn as configs/off_policy.yaml does, from the same minibatches of 128 synthetic transitions of PickCube's
shapes: two critics as one batched matrix product, cross-entropy with the targets of slowly following copies, one
actor step for two of the critics, gradient norms clipped apart, one fused Adam, an average of the weights. First the
weights of both after some updates are compared (to 1e-5), then the two take turns and medians are printed. The ratio
Lightning / plain has the goal 0.9. Last, the share of the time that is matrix products: those of one update alone,
with the same shapes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from itertools import cycle
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from rlft.callbacks import WeightEMA
from rlft.modules import OffPolicyModule
from rlft.networks.action_values import follow, frozen_copy
from rlft.off_policy import Anchored
from rlft.off_policy.objective import Bounds
from rlft.types import Obs, ReplayBatch, Transition, generator_at
from tests.benchmarks.training import begin, check_same, train

OBS, ACTION, BATCH, MINIBATCHES, HIDDEN, CRITICS = 42, 8, 128, 20, 256, 2
DECAY, ACTOR_INTERVAL, SMOOTHING = 0.999, 2, 0.01


def main() -> None:
    args = begin(__doc__.splitlines()[0], updates=400, threads=2)
    start, batches = Module(OBS, ACTION, Anchored(smoothing=SMOOTHING)), synthetic_batches()
    check_same_weights(start, batches)
    pairs = [
        (run_lightning(start, batches, args.updates)[1], run_plain(start, batches, args.updates)[1])
        for _ in range(args.repeats)
    ]
    products = seconds_of(matrix_products())
    print(f"Lightning            {median(args.updates / ours for ours, _ in pairs):8.1f} updates/s")
    print(f"plain PyTorch        {median(args.updates / plain for _, plain in pairs):8.1f} updates/s")
    ratios = sorted(plain / ours for ours, plain in pairs)
    print(f"ratio (goal 0.9)     {median(ratios):8.3f}   [{ratios[0]:.3f}, {ratios[-1]:.3f}]")
    print(f"matrix products      {median(products * args.updates / ours for ours, _ in pairs):8.1%} of our time")


class Module(OffPolicyModule):
    """Without an environment: actions are bounded by -1 and 1."""

    def setup(self, stage: str) -> None:
        """Nothing is to be learned of the data."""


def synthetic_batches() -> list[ReplayBatch]:
    """Noise of PickCube's shapes; one transition in fifty ends with a success."""
    batches = []
    for _ in range(MINIBATCHES):
        obs, next_obs = torch.randn(2, BATCH, OBS)
        reward = (torch.rand(BATCH) < 0.02).float()
        ahead = Transition(reward=reward, next_obs=Obs(next_obs), discount=0.97**3 * (1 - reward))
        batches.append(ReplayBatch(Obs(obs), torch.rand(BATCH, ACTION) * 2 - 1, ahead))
    return batches


def run_lightning(start: Module, batches: list[ReplayBatch], updates: int) -> tuple[Module, float]:
    torch.manual_seed(0)
    module = copy.deepcopy(start)
    return module, train(module, cycle(batches), updates, WeightEMA(DECAY))


class Plain:
    """The same networks, and everything that an update needs, in the order in which it is needed."""

    def __init__(self, start: Module) -> None:
        torch.manual_seed(0)
        self.module = module = copy.deepcopy(start)
        self.actor, self.critic = module.actor, module.critic
        self.target_actor, self.target = frozen_copy(self.actor), frozen_copy(self.critic)
        self.start = frozen_copy(self.actor)
        self.weights = [*self.actor.parameters()], [*self.critic.parameters()]
        self.average = [weight.detach().clone() for part in self.weights for weight in part]
        rates = module.learning_rate, module.critic_learning_rate
        groups = [{"params": part, "lr": rate} for part, rate in zip(self.weights, rates, strict=True)]
        self.optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
        self.bounds = Bounds(-torch.ones(ACTION), torch.ones(ACTION))
        self.noise = generator_at([torch.initial_seed(), 0])

    def update(self, batch: ReplayBatch, number: int) -> None:
        moves_actor = number % ACTOR_INTERVAL == 0
        loss = self.critic_loss(batch, self.next_value(batch.transition))
        if moves_actor:
            loss = loss + self.actor_loss(batch.obs)
        self.optimizer.zero_grad()
        loss.backward()
        for part in self.weights:
            torch.nn.utils.clip_grad_norm_(part, self.module.max_grad_norm)
        self.optimizer.step()
        follow(self.target, self.critic, self.module.polyak)
        if moves_actor:
            follow(self.target_actor, self.actor, self.module.polyak)
        current = [weight.detach() for part in self.weights for weight in part]
        torch._foreach_lerp_(self.average, current, 1 - DECAY)

    @torch.no_grad()
    def next_value(self, ahead: Transition) -> Tensor:
        noise = torch.randn(BATCH, ACTION, generator=self.noise)
        action = (self.target_actor.mode(ahead.next_obs) + SMOOTHING * noise).clamp(-1, 1)
        value = self.target.outputs(ahead.next_obs, action).squeeze(-1).sigmoid().amin(0)
        return (ahead.reward + ahead.discount * value).clamp(0, 1)

    def critic_loss(self, batch: ReplayBatch, target: Tensor) -> Tensor:
        logits = self.critic.outputs(batch.obs, batch.action).squeeze(-1)
        losses = functional.binary_cross_entropy_with_logits(logits, target.expand(CRITICS, -1), reduction="none")
        return losses.mean(1).sum()

    def actor_loss(self, obs: Obs) -> Tensor:
        noise = torch.randn(BATCH, ACTION, generator=self.noise)
        mean = self.actor.mode(obs)
        with torch.no_grad():
            begun = self.start.mode(obs)
        action = self.bounds.clip(mean + SMOOTHING * noise)
        logits = self.critic.outputs(obs, action, frozen=True).squeeze(-1)
        return ((mean - begun).square().sum(-1) - logits.mean(0)).mean()


def run_plain(start: Module, batches: list[ReplayBatch], updates: int) -> tuple[Module, float]:
    plain = Plain(start)
    started = time.perf_counter()
    for i in range(updates):
        plain.update(batches[i % len(batches)], i)
    return plain.module, time.perf_counter() - started


def check_same_weights(start: Module, batches: list[ReplayBatch], updates: int = 30) -> None:
    ours, plain = run_lightning(start, batches, updates)[0], run_plain(start, batches, updates)[0]
    check_same(ours.parameters(), plain.parameters(), start.parameters(), updates, tolerance=1e-5)


def matrix_products() -> list[Callable[[], Tensor]]:
    """Of one update and half an actor step: forward, and backward by weights and by inputs."""
    critic = [(OBS + ACTION, HIDDEN), (HIDDEN, HIDDEN)]
    actor = [(OBS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, ACTION)]
    # Critics: target, forward, by weights, by inputs of the second layer. Half an actor step: forward, by inputs.
    full = [product(CRITICS, *shape, kind) for shape in critic for kind in ("forward", "forward", "weights")]
    full += [product(CRITICS, HIDDEN, HIDDEN, "inputs")]
    full += [product(1, *shape, "forward") for shape in actor]  # the target's action
    half = [product(CRITICS, *shape, kind) for shape in critic for kind in ("forward", "inputs")]
    half += [product(1, *shape, kind) for shape in actor for kind in ("forward", "forward", "weights")]  # start and own
    half += [product(1, *shape, "inputs") for shape in actor[1:]]
    return full * ACTOR_INTERVAL + half


def product(number: int, inputs: int, outputs: int, kind: str) -> Callable[[], Tensor]:
    x, weight = torch.randn(number, BATCH, inputs), torch.randn(number, inputs, outputs)
    gradient = torch.randn(number, BATCH, outputs)
    if kind == "forward":
        return lambda: x @ weight
    if kind == "weights":
        return lambda: x.transpose(1, 2) @ gradient
    return lambda: gradient @ weight.transpose(1, 2)


def seconds_of(products: list[Callable[[], Tensor]], repeats: int = 200) -> float:
    """Seconds of matrix products per update."""
    started = time.perf_counter()
    for _ in range(repeats):
        for compute in products:
            compute()
    return (time.perf_counter() - started) / repeats / ACTOR_INTERVAL


if __name__ == "__main__":
    main()
