"""How much Lightning costs the learner: updates per second of a real Trainer and of a plain PyTorch loop.

    python -m tests.benchmarks.bench_learner [--updates 500] [--repeats 5] [--threads 2]

Both sides do the same updates on the same minibatches of 1000 synthetic transitions of PickCube's shapes: the same
losses, one fused Adam with a group for the actor and one for the critic, one joint gradient clipping. First their
weights after some updates are compared (to 1e-5), then the two take turns and medians are printed. The ratio
Lightning / plain has the goal 0.9; what is missing to 1 is the Trainer's bookkeeping and the module's metrics. Last,
what the time of the plain loop is made of, by PyTorch's profiler.
"""

from __future__ import annotations

import copy
import time
from itertools import cycle
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile

from rlft.advantage import GAE
from rlft.modules import FinetuneModule
from rlft.types import Batch, Obs
from rlft.update import PPO
from tests.benchmarks.training import begin, check_same, train
from tests.support.hand_made import gaussian_log_prob

BATCH, OBS, ACTION, MINIBATCHES = 1000, 42, 8, 5


def main() -> None:
    args = begin(__doc__.splitlines()[0], updates=500, threads=2)
    start = FinetuneModule(OBS, ACTION, GAE(), PPO(target_kl=None))  # every update is done
    batches = synthetic_batches(start)
    check_same_weights(start, batches)
    pairs = [
        (run_lightning(start, batches, args.updates)[1], run_plain(start, batches, args.updates)[1])
        for _ in range(args.repeats)
    ]
    print(f"Lightning            {median(args.updates / ours for ours, _ in pairs):8.1f} updates/s")
    print(f"plain PyTorch        {median(args.updates / plain for _, plain in pairs):8.1f} updates/s")
    print(f"ratio (goal 0.9)     {median(plain / ours for ours, plain in pairs):8.3f}")
    for name, share in shares(start, batches).items():
        print(f"{name:<20} {share:8.1%} of the plain loop")


def shares(start: FinetuneModule, batches: list[Batch]) -> dict[str, float]:
    """Parts of the plain loop's time."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run_plain(start, batches, 50)
    seconds = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    parts = {"matrix products": ("aten::mm", "aten::addmm"), "tanh": ("aten::tanh", "aten::tanh_backward")}
    return {name: sum(map(seconds.get, keys)) / sum(seconds.values()) for name, keys in parts.items()}


@torch.no_grad()
def synthetic_batches(module: FinetuneModule) -> list[Batch]:
    """Minibatches as a policy would have made them: actions near its mean, so that PPO's ratios stay near 1."""
    batches = []
    for _ in range(MINIBATCHES):
        obs = Obs(torch.randn(BATCH, OBS))
        mean, log_std = module.actor(obs), module.actor.log_std
        action = mean + log_std.exp() * torch.randn_like(mean)
        log_prob = gaussian_log_prob(action, mean, log_std)
        value = module.critic(obs)
        target, signal = value + torch.randn(BATCH), torch.randn(BATCH)
        batches.append(
            Batch(obs=obs, action=action, log_prob=log_prob, signal=signal, value=value, value_target=target)
        )
    return batches


def run_lightning(start: FinetuneModule, batches: list[Batch], updates: int) -> tuple[FinetuneModule, float]:
    module = copy.deepcopy(start)
    return module, train(module, cycle(batches), updates)


def run_plain(start: FinetuneModule, batches: list[Batch], updates: int) -> tuple[FinetuneModule, float]:
    module = copy.deepcopy(start)
    actor, critic = module.actor, module.critic
    parameters = [*actor.parameters(), *critic.parameters()]
    groups = [{"params": list(net.parameters()), "lr": module.learning_rate} for net in (actor, critic)]
    optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
    started = time.perf_counter()
    for i in range(updates):
        batch = batches[i % len(batches)]
        loss = module.advantage.critic_loss(critic, batch)[0] + module.update.actor_loss(actor, batch)[0]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, module.max_grad_norm)
        optimizer.step()
    return module, time.perf_counter() - started


def check_same_weights(start: FinetuneModule, batches: list[Batch], updates: int = 30) -> None:
    ours, plain = run_lightning(start, batches, updates)[0], run_plain(start, batches, updates)[0]
    check_same(ours.parameters(), plain.parameters(), start.parameters(), updates, tolerance=1e-5)


if __name__ == "__main__":
    main()
