"""What re-rollouts cost: the engine against bare physics, its estimator against the founding one.

    python -m tests.benchmarks.bench_rerollouts [--states 1000] [--samples 4]

Two workers play the expert from states that `pickcube/weak` visits, K = `--samples` times each:

- `engine / physics`: env steps per second of `ProcessRollouts.play` against two processes that replay at the same time
  only the physics of such re-rollouts (same states, same targets, restores repeated but not timed). Goal 0.75.
- `useful share`: env steps of re-rollouts that were still running, over all env steps simulated. Goal 0.95. On the CPU
  only scenes that play are simulated, so what is left of it is re-rollouts that the simulator spoiled.
- `steps, identity / direct in lockstep`: simulated env steps of our estimator against those of the founding documents':
  for every step of the rollout, 2K copies of every environment, stepped together until the last has finished or the
  time limit has passed. Both follow from measured lengths of re-rollouts from the same states. Goal 0.25.
- peak memory of the main process and of the largest worker.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import resource
import time
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from rlft.advantage import MonteCarloRerollout
from rlft.envs import ManiSkill
from rlft.envs.maniskill import ManiSkillBatch
from rlft.networks import NoCritic
from rlft.networks.policy_files import load_policy
from rlft.rollout import IterationRerollouts, ProcessRollouts
from rlft.rollout.worker import RolloutWorker
from rlft.types import Actor, Branches, EnvStates, Jobs

ENVS, STEPS, GAMMA, WORKERS = 100, 50, 0.8, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=1000, help="about so many of the visited states")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = ManiSkill(device="cpu")
    rollouts = ProcessRollouts(config, ENVS, WORKERS)
    weak, expert = load_policy("pickcube/weak").actor, load_policy("pickcube/expert").actor
    rollout, _, visited = rollouts.collect(weak, rollouts.initial_states(1), STEPS, 1, 0, keep_visited=True)
    every = max(1, ENVS * STEPS // args.states)

    played: list[tuple[Jobs, Branches]] = []

    class Recording(IterationRerollouts):
        def play(self, actor: Actor, jobs: Jobs, gamma: float) -> Branches:
            branches = super().play(actor, jobs, gamma)
            played.append((jobs, branches))
            return branches

    rerollouts = Recording(rollouts, weak, visited, 1, 0, lambda begun, total: None)
    # Direct, over whole time steps: it measures what the founding estimator measures, on a subset of its states.
    direct = MonteCarloRerollout("pickcube/expert", args.samples, GAMMA, estimator="direct", every_k=every)
    direct.estimate(rollout, NoCritic(), rerollouts)
    (jobs, branches), total = played[0], 2 * args.samples * ENVS
    steps = torch.arange(0, STEPS, every)
    lockstep = 0
    for t in steps.tolist():
        here = torch.isin(jobs.state, visited.before[t])
        lockstep += total * int(branches.steps[here].max())
    asked = len(steps) * ENVS
    mean_length = float(branches.steps[~jobs.has_first_action].float().mean())
    identity = args.samples * mean_length * len(visited.states[visited.states.elapsed < STEPS]) / (ENVS * STEPS) * asked
    print(f"{asked} states x {args.samples} re-rollouts, mean length {mean_length:.1f} env steps")
    print(f"steps, identity / direct in lockstep (goal 0.25)   {identity / lockstep:.3f}")

    jobs = jobs[~jobs.has_first_action]
    physics = PhysicsWorkers(config, expert, visited.states, jobs)
    rates = []
    for _ in range(args.repeats):
        started = time.perf_counter()
        branches, simulated = rollouts.play(
            expert, visited.states, jobs, gamma=GAMMA, seed=1, iteration=0, progress=lambda begun: None
        )
        seconds = time.perf_counter() - started
        rates.append((simulated / seconds, len(jobs) / seconds, physics.rate(), int(branches.steps.sum()) / simulated))
    engine, per_second, bare, useful = (sorted(column)[len(column) // 2] for column in zip(*rates, strict=True))
    ratio = sorted(a / b for a, _, b, _ in rates)[len(rates) // 2]
    print(f"engine, {WORKERS} workers, env steps/s                     {engine:,.0f}")
    print(f"engine, re-rollouts/s                              {per_second:,.0f}")
    print(f"physics of the same, {WORKERS} processes, env steps/s      {bare:,.0f}")
    print(f"engine / physics (goal 0.75)                       {ratio:.2f}")
    print(f"useful share (goal 0.95)                           {useful:.3f}")
    rollouts.close()
    physics.close()
    here, workers = (resource.getrusage(w).ru_maxrss / 1024 for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak memory, main process / largest worker, MiB    {here:,.0f} / {workers:,.0f}")


class PhysicsWorkers:
    """Processes that record their share of re-rollouts once and replay only the physics, all at the same time."""

    def __init__(self, config: ManiSkill, actor: Actor, states: EnvStates, jobs: Jobs) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for i in range(WORKERS):
            ours, theirs = context.Pipe()
            arguments = (theirs, config, actor, states, jobs[slice(i, None, WORKERS)])
            process = context.Process(target=replay_on_request, args=arguments, daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)
        self.env_steps = sum(pipe.recv() for pipe in self.pipes)

    def rate(self) -> float:
        for pipe in self.pipes:
            pipe.send("go")
        return self.env_steps / max(pipe.recv() for pipe in self.pipes)

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
            process.join()


def replay_on_request(
    pipe: multiprocessing.connection.Connection, config: ManiSkill, actor: Actor, states: EnvStates, jobs: Jobs
) -> None:
    torch.set_num_threads(1)
    worker = RolloutWorker(config, ENVS // WORKERS)
    events = record(worker, actor, states, jobs)
    pipe.send(sum(len(rows) for kind, rows, _ in events if kind == "step"))
    while pipe.recv() == "go":
        pipe.send(replay(worker.env, events))


def record(worker: RolloutWorker, actor: Actor, states: EnvStates, jobs: Jobs) -> list[tuple[str, list[int], object]]:
    """Restores and steps, in order: rows, and the states or the drive targets."""
    batch, events = worker.env, []
    px, step, restore, activate = batch.env.scene.px, batch.step, batch.restore, batch.activate
    active: list[int] = []

    def recording_restore(rows, begin):
        events.append(("restore", list(rows), replace(begin)))
        restore(rows, begin)

    def recording_activate(rows):
        active[:] = rows
        return activate(rows)

    def recording_step(action: Tensor):
        result = step(action)
        events.append(("step", list(active), px.cuda_articulation_target_qpos.data.clone()))
        return result

    batch.restore, batch.step, batch.activate = recording_restore, recording_step, recording_activate
    queue = iter(range(len(jobs)))
    worker.play(actor, states, jobs, partial(take, queue), gamma=GAMMA, seed=1, iteration=0)
    batch.restore, batch.step, batch.activate = restore, step, activate
    return events


def take(queue, count: int) -> range:
    rows = list(islice(queue, count))
    return range(rows[0], rows[-1] + 1) if rows else range(0)


def replay(batch: ManiSkillBatch, events: list[tuple[str, list[int], object]]) -> float:
    """Seconds in PhysX."""
    px, seconds = batch.env.scene.px, 0.0
    substeps = batch.env._sim_freq // batch.env._control_freq
    for kind, rows, what in events:
        if kind == "restore":
            batch.restore(rows, what)
            continue
        targets = what.tolist()
        for i in rows:
            for set_target, value in zip(px._set_targets[i], targets[i], strict=False):
                set_target(value)
        steps = [px.systems[i].step for i in rows]
        started = time.perf_counter()
        for step in steps:
            for _ in range(substeps):
                step()
        seconds += time.perf_counter() - started
    return seconds


if __name__ == "__main__":
    main()
