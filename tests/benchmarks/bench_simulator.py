"""How fast the simulator is, as rates (env steps per second) and as ratios measured within one run.

    python tests/benchmarks/bench_simulator.py [--policy FILE_OR_ZOO_NAME] [--scenes 100] [--steps 50] [--repeats 5]
        [--task PickCube-v1] [--control_mode pd_joint_delta_pos]

Rates depend on the machine and on what else it does; ratios much less, because the two sides of a ratio take turns.
All figures are medians over `--repeats`. For each workload (random actions, and the mean actions of `--policy`):

- `step / physics`: `ManiSkillBatch.step` in this process, against nothing but its PhysX substeps: the same start
  states, and the drive targets that `step` had sent. What is missing to 1 is observations, rewards and control. Goal
  0.85.
- `2 workers / AsyncVectorEnv`: `ProcessRollouts.collect` (policy, resets and canonical states included) against stock
  ManiSkill as its documentation recommends it on a CPU, at the best of several pool sizes and thread settings.
  Goals: 5 with random actions, 3 with a policy.
- `2 workers / 2 x physics`: the same `collect` against two processes replaying at the same time only the physics of
  what it did: the same targets in the same states; its resets are repeated too, but not timed. Goal 0.75.

Random actions of the workers come from a Gaussian of zero mean and the standard deviation of a uniform action in
[-1, 1]; those of stock ManiSkill are uniform. A policy acts by its mean on both sides.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing.connection
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

import torch
from torch import Tensor, nn

from rlft.envs import ManiSkill
from rlft.envs.maniskill import ManiSkillBatch
from rlft.envs.maniskill.building import register_tasks
from rlft.envs.maniskill.headless import allow_no_renderer
from rlft.networks import GaussianActor
from rlft.networks.policy_files import load_policy
from rlft.rollout import ProcessRollouts
from rlft.types import Actor, EnvSpec, EnvStates, Obs, Visited

MEAN_ONLY = -20.0  # log standard deviation of a policy that acts by its mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", help="policy file or zoo name; without it, random actions only")
    parser.add_argument("--task", default="PickCube-v1")
    parser.add_argument("--control_mode", default="pd_joint_delta_pos")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pools", type=int, nargs="*", default=[2, 4, 8, 16], help="AsyncVectorEnv processes to try")
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "mani_skill", "sapien", "gymnasium"))
    print(f"Python {platform.python_version()}, {versions}")
    print(f"{len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[0]:.2f} at the start")
    what = f"{args.task}, {args.control_mode}, {args.scenes} scenes x {args.steps} steps"
    print(f"{what}, median of {args.repeats}; env steps/s\n")
    config = ManiSkill(task=args.task, control_mode=args.control_mode, device="cpu")
    for policy in [None, args.policy] if args.policy else [None]:
        print(f"## {f'mean actions of {policy}' if policy else 'random actions'}\n")
        bench_process(config, policy, args.scenes, args.steps, args.repeats)
        bench_workers(config, policy, args.scenes, args.steps, args.repeats, args.pools)


def show(name: str, value: float) -> None:
    print(f"{name:<44} {value:10.2f}" if value < 100 else f"{name:<44} {value:10,.0f}", flush=True)


def make_actor(policy: str | None, spec: EnvSpec) -> Actor:
    """The policy by its mean, or a Gaussian as wide as the uniform distribution on [-1, 1]."""
    if policy is not None:
        actor = load_policy(policy).actor
        nn.init.constant_(actor.log_std, MEAN_ONLY)
        return actor
    actor = GaussianActor(spec.obs_dim, spec.action_dim, init_log_std=math.log(1 / math.sqrt(3)))
    nn.init.zeros_(actor.action_head[-1].weight)
    return actor


# ---- physics -----------------------------------------------------------------------------------------------------


class Replay:
    """The same states and actions, through `step` or through PhysX alone. Times are in seconds.

    `starts[t]` says which scenes are put into which states before step `t`: all of them at first, later what is reset.
    """

    def __init__(self, batch: ManiSkillBatch, starts: dict[int, tuple[list[int], EnvStates]], actions: Tensor) -> None:
        self.batch, self.starts, self.actions = batch, starts, actions
        self.px = batch.env.scene.px
        self.substeps = batch.env._sim_freq // batch.env._control_freq
        self.targets = [self._targets_of(t) for t in range(len(actions))]

    def restore(self, t: int) -> None:
        if t in self.starts:
            self.batch.restore(*self.starts[t])

    def _targets_of(self, t: int) -> list[list[float]]:
        self.restore(t)
        self.batch.step(self.actions[t])
        return self.px.cuda_articulation_target_qpos.data.tolist()

    def step(self) -> float:
        seconds = 0.0
        for t, action in enumerate(self.actions):
            self.restore(t)
            started = time.perf_counter()
            self.batch.step(action)
            seconds += time.perf_counter() - started
        return seconds

    def physics(self) -> float:
        setters, seconds = self.px._set_targets, 0.0
        for t, targets in enumerate(self.targets):
            self.restore(t)
            steps = [system.step for system in self.px.systems]
            for setters_of_scene, values in zip(setters, targets, strict=True):
                for set_target, value in zip(setters_of_scene, values, strict=False):
                    set_target(value)
            started = time.perf_counter()
            for step in steps:  # scene by scene, which the cache prefers: the faster order
                for _ in range(self.substeps):
                    step()
            seconds += time.perf_counter() - started
        return seconds


@torch.no_grad()
def bench_process(config: ManiSkill, policy: str | None, scenes: int, steps: int, repeats: int) -> None:
    batch = ManiSkillBatch(config, scenes)
    states = batch.initial_states(0)
    spec = batch.spec
    if policy is None:
        generator = torch.Generator().manual_seed(0)
        actions = 2 * torch.rand(steps, scenes, spec.action_dim, generator=generator) - 1
    else:
        actor, obs, taken = make_actor(policy, spec), states.obs, []
        batch.restore(range(scenes), states)
        for _ in range(steps):
            taken.append(actor(obs).clamp(spec.action_low, spec.action_high))
            obs = batch.step(taken[-1]).obs
        actions = torch.stack(taken)
    replay = Replay(batch, {0: (list(range(scenes)), states)}, actions)
    pairs = [(replay.step(), replay.physics()) for _ in range(repeats)]
    show("physics, one process", median(scenes * steps / physics for _, physics in pairs))
    show("step, one process", median(scenes * steps / step for step, _ in pairs))
    show("step / physics (goal 0.85)", median(physics / step for step, physics in pairs))


# ---- workers -----------------------------------------------------------------------------------------------------


def bench_workers(
    config: ManiSkill, policy: str | None, scenes: int, steps: int, repeats: int, pools: list[int]
) -> None:
    rollouts = ProcessRollouts(config, scenes, num_workers=2)
    actor, states = make_actor(policy, rollouts.spec), rollouts.initial_states(1)

    def collect() -> float:
        started = time.perf_counter()
        rollouts.collect(actor, states, steps, seed=1, iteration=0)
        return scenes * steps / (time.perf_counter() - started)

    rollout, _, visited = rollouts.collect(actor, states, steps, seed=1, iteration=0, keep_visited=True)
    actions = rollout.action.clamp(rollouts.spec.action_low, rollouts.spec.action_high)
    replays = PhysicsWorkers(config, [(starts_of(visited, share), actions[:, share]) for share in rollouts.shares])
    pairs = [(collect(), scenes * steps / replays.seconds()) for _ in range(repeats)]
    replays.close()
    show("physics, two processes", median(physics for _, physics in pairs))
    show("collect, two workers", median(ours for ours, _ in pairs))
    show("2 workers / 2 x physics (goal 0.75)", median(ours / physics for ours, physics in pairs))

    act = stock_policy(policy, actor, rollouts.spec)
    ratios = []
    for processes, threads in [(n, threads) for n in pools for threads in (None, 1)]:
        stock = StockPool(config, processes, threads)
        pairs = [(collect(), stock.rate(act, scenes * steps)) for _ in range(repeats)]
        stock.close()
        show(
            f"AsyncVectorEnv({processes}), torch threads {threads or 'default'}", median(theirs for _, theirs in pairs)
        )
        ratios.append(median(ours / theirs for ours, theirs in pairs))
    rollouts.close()
    if ratios:
        show(f"2 workers / AsyncVectorEnv at its best (goal {3 if policy else 5})", min(ratios))
    print()


def starts_of(visited: Visited, share: range) -> dict[int, tuple[list[int], EnvStates]]:
    """Where environments `share` of a rollout began, and which of them were reset before which step."""
    before, after = visited.before[:, share], visited.after[:, share]
    starts = {0: (list(range(len(share))), visited.states[before[0]])}
    for t in range(1, len(before)):
        reset = (before[t] != after[t - 1]).nonzero().flatten()
        if len(reset):
            starts[t] = (reset.tolist(), visited.states[before[t, reset]])
    return starts


class PhysicsWorkers:
    """Processes that replay only the physics of their share, all at the same time."""

    def __init__(self, config: ManiSkill, shares: list[tuple[dict[int, tuple[list[int], EnvStates]], Tensor]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for starts, actions in shares:
            ours, theirs = context.Pipe()
            process = context.Process(target=replay_on_request, args=(theirs, config, starts, actions), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)
        for pipe in self.pipes:
            pipe.recv()

    def seconds(self) -> float:
        """Of the slowest process."""
        for pipe in self.pipes:
            pipe.send("go")
        return max(pipe.recv() for pipe in self.pipes)

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
            process.join()


def replay_on_request(
    pipe: multiprocessing.connection.Connection,
    config: ManiSkill,
    starts: dict[int, tuple[list[int], EnvStates]],
    actions: Tensor,
) -> None:
    torch.set_num_threads(1)
    replay = Replay(ManiSkillBatch(config, actions.shape[1]), starts, actions)
    pipe.send("ready")
    while pipe.recv() == "go":
        pipe.send(replay.physics())


# ---- stock ManiSkill ---------------------------------------------------------------------------------------------


class StockPool:
    """gymnasium's AsyncVectorEnv over single CPU environments in `CPUGymWrapper`."""

    def __init__(self, config: ManiSkill, processes: int, threads: int | None) -> None:
        from gymnasium.vector import AsyncVectorEnv

        self.processes = processes
        self.env = AsyncVectorEnv([lambda: make_stock(config, threads)] * processes, context="spawn")
        self.obs, _ = self.env.reset(seed=0)

    def rate(self, act: Callable[[Tensor], Tensor], env_steps: int) -> float:
        """Env steps per second over about `env_steps`, resets included."""
        rounds = math.ceil(env_steps / self.processes)
        started = time.perf_counter()
        for _ in range(rounds):
            self.obs, *_ = self.env.step(act(torch.from_numpy(self.obs)).numpy())
        return rounds * self.processes / (time.perf_counter() - started)

    def close(self) -> None:
        self.env.close()


def make_stock(config: ManiSkill, threads: int | None):
    if threads is not None:
        torch.set_num_threads(threads)
    allow_no_renderer()
    import gymnasium

    register_tasks()
    from mani_skill.utils.wrappers.gymnasium import CPUGymWrapper

    env = gymnasium.make(
        config.task,
        sim_backend="physx_cpu",
        render_backend="none",
        obs_mode="state",
        reward_mode=config.reward_mode,
        control_mode=config.control_mode,
    )
    return CPUGymWrapper(env)


def stock_policy(policy: str | None, actor: Actor, spec: EnvSpec) -> Callable[[Tensor], Tensor]:
    """Actions `[n, A]` for observations `[n, O]`."""
    if policy is None:
        return lambda obs: 2 * torch.rand(len(obs), spec.action_dim) - 1

    @torch.no_grad()
    def act(obs: Tensor) -> Tensor:
        return actor(Obs(obs)).clamp(spec.action_low, spec.action_high)

    return act


if __name__ == "__main__":
    main()
