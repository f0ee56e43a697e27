"""How precise advantages by re-rollouts are, and what lowers their error at equal simulator cost.

    python -m tests.benchmarks.bench_rerollout_error [--envs 4] [--reference 256] [--only tail] [--critic]

States of `--envs` environments that `pickcube/weak` visits in one rollout of 50 steps; the expert plays on. Errors are
root-mean-square errors of the advantages against a reference of `--reference` independent re-rollouts per state, with
the reference's own error taken off; steps are simulator steps, in units of those of 16 plain re-rollouts. A tail is
the expert's own critic. `--only` leaves the other rows out. `--critic` adds a network fitted to 16 re-rollouts of every
state of the *other* environments of the rollout (no further simulation for these states), alone and mixed with own
re-rollouts in proportion to precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from rlft.advantage import MonteCarloRerollout
from rlft.advantage.sampling import MeanReturns, _average, _Samples
from rlft.envs import ManiSkill
from rlft.networks import NoCritic, ValueCritic
from rlft.networks.policy_files import load_policy
from rlft.rollout import IterationRerollouts, ProcessRollouts
from rlft.types import Actor, Branches, Jobs, Obs, Rollout, Visited

ENVS, STEPS, GAMMA = 100, 50, 0.8

COMMON = {"common_noise": True}
OPTIONS = [  # name, re-rollouts per state on average, options of the estimator
    ("plain", 16, {}),
    ("plain, K = 8", 8, {}),
    ("plain, K = 4", 4, {}),
    ("antithetic noise", 16, {"antithetic": True}),
    ("pilot of 4", 16, {"pilot_samples": 4}),
    ("pilot of 8", 16, {"pilot_samples": 8}),
    ("common noise", 16, COMMON),
    ("common noise, pilot of 4", 16, {**COMMON, "pilot_samples": 4}),
    ("common noise, pilot of 4, K = 5", 5, {**COMMON, "pilot_samples": 4}),
    *((f"common noise, tail after {steps}", 16, {**COMMON, "tail_steps": steps}) for steps in (1, 2, 3, 5)),
    ("common noise, pilot of 4, tail after 3", 16, {**COMMON, "pilot_samples": 4, "tail_steps": 3}),
    ("common noise, pilot of 8, tail after 3, K = 32", 32, {**COMMON, "pilot_samples": 8, "tail_steps": 3}),
    ("common noise, pilot of 4, tail after 3, K = 5", 5, {**COMMON, "pilot_samples": 4, "tail_steps": 3}),
]


class Recording(IterationRerollouts):
    """Keeps all re-rollouts."""

    def play(self, actor: Actor, jobs: Jobs, gamma: float) -> Branches:
        self.jobs, self.branches = jobs, super().play(actor, jobs, gamma)
        return self.branches


def columns(rollout: Rollout, visited: Visited, envs: slice) -> tuple[Rollout, Visited]:
    """Some environments of a rollout."""
    part = Visited(states=visited.states, before=visited.before[:, envs], after=visited.after[:, envs])
    return rollout[:, envs], part


class Study:
    def __init__(self, rollouts: ProcessRollouts, rollout: Rollout, visited: Visited) -> None:
        self.rollouts, self.rollout, self.visited = rollouts, rollout, visited
        self.rows = len(visited.states)
        self.critic = load_policy("pickcube/expert").critic

    def rerollouts(self, seed: int) -> Recording:
        return Recording(self.rollouts, NoCritic(), self.visited, seed, 0, lambda begun, total: None)

    def play(self, samples: int, seed: int) -> _Samples:
        """Returns of K re-rollouts of every state that matters, `start` being the state's row."""
        recording = self.rerollouts(seed)
        MonteCarloRerollout("pickcube/expert", samples, GAMMA).estimate(self.rollout, NoCritic(), recording)
        branches = recording.branches
        number = torch.arange(len(branches)) % samples
        return _Samples(
            recording.jobs.state, number, branches.discounted_return, branches.steps.float(), branches.valid
        )

    def estimate(self, samples: int, seed: int, **options) -> tuple[Tensor, float]:
        """Advantages of all steps `[T n]` and simulator steps, by the estimator as it is, with the expert's critic."""
        rerollouts = self.rerollouts(seed)
        estimator = MonteCarloRerollout("pickcube/expert", samples, GAMMA, **options)
        with torch.no_grad():
            estimate = estimator.estimate(self.rollout, self.critic, rerollouts)
        return estimate.advantage.flatten(), rerollouts.sim_steps

    def advantage(self, value: Tensor) -> Tensor:
        """Of all steps `[T n]`, from the values of states; unknown values are those of states without a future."""
        value = value.nan_to_num()
        after = torch.where(self.rollout.terminated, 0.0, GAMMA * value[self.visited.after])
        return (self.rollout.reward + after - value[self.visited.before]).flatten()

    def groups(self, samples: _Samples, size: int) -> list[Tensor]:
        """Means `[M]` of the returns from all states in consecutive groups of `size` re-rollouts per state."""
        per_state = len(samples) // int(samples.start.unique().numel())
        number = torch.arange(len(samples)) % per_state // size
        return [_average(samples[number == g], self.rows, antithetic=False).mean for g in range(per_state // size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=4)
    parser.add_argument("--reference", type=int, default=256)
    parser.add_argument("--only", default="", help="what the names of the rows contain")
    parser.add_argument("--critic", action="store_true", help="also fit one to the other environments")
    args = parser.parse_args()
    rollouts = ProcessRollouts(ManiSkill(device="cpu"), ENVS, 2)
    weak = load_policy("pickcube/weak").actor
    everything = rollouts.collect(weak, rollouts.initial_states(1), STEPS, 1, 0, keep_visited=True)
    study = Study(rollouts, *columns(everything[0], everything[2], slice(0, args.envs)))

    reference = study.play(args.reference, 101)
    value = _average(reference, study.rows, antithetic=False).mean
    truth = study.advantage(value)
    # The mean of two independent halves has a quarter of the squared error of their difference.
    halves = [study.advantage(half) for half in study.groups(reference, args.reference // 2)]
    noise = float(((halves[0] - halves[1]) ** 2).mean()) / 4
    cost = float(reference.steps.sum()) * 16 / args.reference
    print(f"{args.envs * STEPS} steps, K = 16, {cost:,.0f} simulator steps; advantages have std {truth.std():.4f}")

    def show(name: str, estimates: Sequence[Tensor], steps: float) -> None:
        error = torch.stack([((e - truth) ** 2).mean() for e in estimates]).mean() - noise
        bias = float((torch.stack(list(estimates)).mean(0) - truth).mean())
        print(
            f"{name:<46} error {error.clamp(min=0).sqrt():.4f}  steps {steps / cost:.2f}  mean difference {bias:+.4f}",
            flush=True,
        )

    for name, samples, options in OPTIONS:
        if args.only in name:
            runs = [study.estimate(samples, 110 + i, **options) for i in range(max(4, 32 // samples))]
            estimates, spent = zip(*runs, strict=True)
            show(name, estimates, sum(spent) / len(spent))

    if args.critic:
        others = Study(rollouts, *columns(everything[0], everything[2], slice(args.envs, None)))
        labels, own = _average(others.play(16, 104), others.rows, antithetic=False), study.play(64, 102)
        predicted, spread = fit_critic(everything[2].states.obs, labels)
        predicted[value.isnan()] = float("nan")  # states without a future stay unknown
        show("fitted critic", [study.advantage(predicted)], 0.0)
        for few in (4, 16):
            noise_of_mean = (predicted * (1 - predicted) / few).clamp(min=1e-4)
            weight = spread / (spread + noise_of_mean)
            mixed = [weight * mean.nan_to_num() + (1 - weight) * predicted for mean in study.groups(own, few)]
            show(f"fitted critic and K = {few}", [study.advantage(m) for m in mixed], cost * few / 16)
    rollouts.close()


def fit_critic(obs: Obs, labels: MeanReturns, epochs: int = 300) -> tuple[Tensor, float]:
    """Predictions for all states, and the squared error of the critic itself on labels it has not seen."""
    torch.manual_seed(0)
    known = (labels.count > 0).nonzero().flatten()
    held_out = known[torch.randperm(len(known))[: len(known) // 10]]
    train = known[~torch.isin(known, held_out)]
    critic = ValueCritic(obs.state.shape[1])
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
