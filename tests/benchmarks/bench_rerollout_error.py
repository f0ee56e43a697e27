"""How precise advantages by re-rollouts are, and what lowers their error at equal simulator cost.

    python -m tests.benchmarks.bench_rerollout_error [--envs 8] [--reference 256] [--samples 16]

States of `--envs` environments that `pickcube/weak` visits in one rollout of 50 steps; the expert plays on. Errors are
root-mean-square errors of the advantages against a reference of `--reference` independent re-rollouts per state, with
the reference's own error taken off; steps are simulator steps, in units of those of K = `--samples` plain re-rollouts.

- plain: groups of K of another `--reference` independent re-rollouts.
- antithetic, common noise: the estimator's options.
- tail: re-rollouts of few steps, the rest valued by the expert's critic; with common noise, and with a pilot too.
- adaptive: part of K as a pilot, the rest where returns vary most, drawn from the pool of plain re-rollouts.
- critic: a network fitted to K re-rollouts of every state of the *other* environments of the rollout (no further
  simulation for these states), alone and mixed with own re-rollouts in proportion to precision.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from rlft.advantage import MonteCarloRerollout
from rlft.advantage.sampling import MeanReturns, _allocate, _average, _Samples
from rlft.envs import ManiSkill
from rlft.networks import NoCritic, ValueCritic
from rlft.policies import load_policy
from rlft.rollout import IterationRerollouts, ProcessRollouts
from rlft.types import Actor, Branches, Jobs, Rollout, Visited

ENVS, STEPS, GAMMA = 100, 50, 0.8


class Recording(IterationRerollouts):
    """Keeps all re-rollouts."""

    def play(self, actor: Actor, jobs: Jobs, gamma: float) -> Branches:
        self.jobs, self.branches = jobs, super().play(actor, jobs, gamma)
        return self.branches


def columns(rollout: Rollout, visited: Visited, envs: slice) -> tuple[Rollout, Visited]:
    """Some environments of a rollout."""
    part = Visited(visited.states, visited.before[:, envs], visited.after[:, envs])
    return Rollout(**{name: getattr(rollout, name)[:, envs] for name in rollout.__dataclass_fields__}), part


class Study:
    def __init__(self, rollouts: ProcessRollouts, rollout: Rollout, visited: Visited) -> None:
        self.rollouts, self.rollout, self.visited = rollouts, rollout, visited
        self.rows = len(visited.states)

    def play(self, samples: int, seed: int, **options) -> _Samples:
        """Returns of K re-rollouts of every state that matters, `start` being the state's row."""
        recording = Recording(self.rollouts, NoCritic(), self.visited, seed, 0, lambda begun, total: None)
        estimator = MonteCarloRerollout("pickcube/expert", samples, GAMMA, **options)
        estimator.estimate(self.rollout, NoCritic(), recording)
        branches = recording.branches
        number = torch.arange(len(branches)) % samples
        return _Samples(
            recording.jobs.state, number, branches.discounted_return, branches.steps.float(), branches.valid
        )

    def estimate(self, samples: int, seed: int, **options) -> tuple[Tensor, float]:
        """Advantages of all steps `[T n]` and simulator steps, by the estimator as it is, with the expert's critic."""
        expert = load_policy("pickcube/expert")
        recording = Recording(self.rollouts, NoCritic(), self.visited, seed, 0, lambda begun, total: None)
        estimator = MonteCarloRerollout("pickcube/expert", samples, GAMMA, **options)
        with torch.no_grad():
            estimate = estimator.estimate(self.rollout, expert.critic, recording)
        return estimate.advantage.flatten(), recording.sim_steps

    def advantage(self, value: Tensor) -> Tensor:
        """Of all steps `[T n]`, from the values of states; unknown values are those of states without a future."""
        value = value.nan_to_num()
        after = torch.where(self.rollout.terminated, 0.0, GAMMA * value[self.visited.after])
        return (self.rollout.reward + after - value[self.visited.before]).flatten()

    def groups(self, samples: _Samples, size: int, *, antithetic: bool = False) -> list[Tensor]:
        """Advantages from consecutive groups of `size` re-rollouts per state."""
        per_state = len(samples) // int(samples.start.unique().numel())
        number = torch.arange(len(samples)) % per_state // size
        means = (_average(samples[number == g], self.rows, antithetic=antithetic) for g in range(per_state // size))
        return [self.advantage(mean.mean) for mean in means]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--reference", type=int, default=256)
    parser.add_argument("--samples", type=int, default=16)
    args = parser.parse_args()
    size = args.samples
    rollouts = ProcessRollouts(ManiSkill(device="cpu"), ENVS, 2)
    weak = load_policy("pickcube/weak").actor
    everything = rollouts.collect(weak, rollouts.initial_states(1), STEPS, 1, 0, keep_visited=True)
    study = Study(rollouts, *columns(everything[0], everything[2], slice(0, args.envs)))
    others = Study(rollouts, *columns(everything[0], everything[2], slice(args.envs, None)))

    reference, pool = study.play(args.reference, 101), study.play(args.reference, 102)
    reference_mean = _average(reference, study.rows, antithetic=False)
    truth = study.advantage(reference_mean.mean)
    plain = study.groups(pool, size)
    # The mean of two independent halves has a quarter of the squared error of their difference.
    halves = study.groups(reference, args.reference // 2)
    noise = float(((halves[0] - halves[1]) ** 2).mean()) / 4
    cost = float(pool.steps.sum()) / (args.reference // size)
    print(f"{args.envs * STEPS} steps, K = {size}, {cost:,.0f} simulator steps; advantages have std {truth.std():.4f}")

    def show(name: str, estimates: list[Tensor], steps: float) -> None:
        error = torch.stack([((e - truth) ** 2).mean() for e in estimates]).mean() - noise
        bias = float((torch.stack(estimates).mean(0) - truth).mean())
        print(
            f"{name:<32} error {error.clamp(min=0).sqrt():.4f}  steps {steps / cost:.2f}  mean difference {bias:+.4f}",
            flush=True,
        )

    show("plain", plain, cost)
    for few in (size // 4, size // 2):
        show(f"plain, K = {few}", study.groups(pool, few), cost * few / size)
    for pilot in (size // 4, size // 2):
        estimates, spent = zip(*(adaptive(study, pool, size, pilot, seed) for seed in range(16)), strict=True)
        show(f"adaptive, pilot {pilot}", list(estimates), sum(spent) / len(spent))
    few = 4 * size
    for name, options in (("antithetic", {"antithetic": True}), ("common noise", {"common_noise": True})):
        samples = study.play(few, 103, **options)
        show(
            name,
            study.groups(samples, size, **{k: v for k, v in options.items() if k == "antithetic"}),
            float(samples.steps.sum()) / 4,
        )

    def show_option(name: str, samples: int = size, repeats: int = 4, **options) -> None:
        runs = [study.estimate(samples, 110 + i, common_noise=True, **options) for i in range(repeats)]
        estimates, spent = zip(*runs, strict=True)
        show(name, list(estimates), sum(spent) / len(spent))

    for pilot in (size // 4, size // 2):
        show_option(f"common noise, pilot {pilot}", pilot_samples=pilot)
    for steps in (1, 2, 3, 5):
        show_option(f"tail after {steps}", tail_steps=steps)
    for steps, factor in ((1, 1), (3, 1), (3, 2)):
        samples, pilot = factor * size, factor * size // 4
        show_option(f"tail after {steps}, K = {samples}, pilot {pilot}", samples, tail_steps=steps, pilot_samples=pilot)
    for few in (5, 8):
        show_option(f"tail after 3, K = {few}", few, repeats=8, tail_steps=3)
        show_option(f"common noise, K = {few}, pilot 4", few, repeats=8, pilot_samples=4)

    labels = _average(others.play(size, 104), others.rows, antithetic=False)
    obs = everything[2].states.obs
    predicted, spread = fit_critic(obs, labels)
    show("critic alone", [study.advantage(clear(predicted, reference_mean))], 0.0)
    for few in (size // 4, size):
        mixed = []
        for g in range(args.reference // few):
            number = torch.arange(len(pool)) % args.reference // few
            mean = _average(pool[number == g], study.rows, antithetic=False)
            noise_of_mean = predicted * (1 - predicted) / mean.count.clamp(min=1)
            weight = spread / (spread + noise_of_mean.clamp(min=1e-4))
            mixed.append(
                study.advantage(clear(weight * mean.mean.nan_to_num() + (1 - weight) * predicted, reference_mean))
            )
        show(f"critic and K = {few}", mixed, cost * few / size)
    rollouts.close()


def clear(value: Tensor, known: MeanReturns) -> Tensor:
    """States without a future stay unknown."""
    return torch.where(known.count > 0, value, float("nan"))


def adaptive(study: Study, pool: _Samples, size: int, pilot: int, seed: int) -> tuple[Tensor, float]:
    """Advantages and cost of a two-stage allocation whose samples come from `pool`, in an order of their own."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = pool[torch.randperm(len(pool), generator=generator)]
    shuffled = shuffled[shuffled.start.argsort(stable=True)]
    states, counts = shuffled.start.unique(return_counts=True)
    rank = torch.arange(len(shuffled)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    known = _average(shuffled[rank < pilot], study.rows, antithetic=False)[states]
    further = _allocate(known, float(known.steps.sum()) * (size - pilot), 1)
    take = torch.zeros(study.rows, dtype=torch.int64)
    take[states] = pilot + further
    chosen = shuffled[rank < take[shuffled.start]]
    return study.advantage(_average(chosen, study.rows, antithetic=False).mean), float(chosen.steps.sum())


def fit_critic(obs: Tensor, labels: MeanReturns, epochs: int = 300) -> tuple[Tensor, float]:
    """Predictions for all states, and the squared error of the critic itself on labels it has not seen."""
    torch.manual_seed(0)
    known = (labels.count > 0).nonzero().flatten()
    held_out = known[torch.randperm(len(known))[: len(known) // 10]]
    train = known[~torch.isin(known, held_out)]
    critic = ValueCritic(obs.shape[1])
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in train[torch.randperm(len(train))].split(500):
            loss = ((critic(obs[rows]) - labels.mean[rows]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        predicted = critic(obs).clamp(0, 1)
    error = (predicted[held_out] - labels.mean[held_out]) ** 2 - labels.squared_error[held_out].nan_to_num()
    print(f"critic: squared error on held-out labels, less that of the labels, {float(error.mean()):.5f}")
    return predicted, max(float(error.mean()), 1e-5)


if __name__ == "__main__":
    main()
