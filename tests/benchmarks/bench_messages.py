"""What an iteration of two configs sends between a run and its workers, in bytes: pickles of the real messages.

    python -m tests.benchmarks.bench_messages

An iteration of PPO with GAE (100 environments x 50 steps), and its re-rollouts as `mc_rerollout_ppo_onpolicy` has them
(five of three steps per state). Worker processes of this machine are asked, with the messages that actors of a Ray
cluster get. What is the same for all workers goes once to every machine; a worker stands for a machine here. What Ray
adds to a message, and the queue's messages, are not counted.

The last column is a calculation: env steps per second, of all workers together, whose messages fill 1 Gbit/s.
"""

from __future__ import annotations

from contextlib import closing
from queue import SimpleQueue
from typing import NamedTuple

import torch

from rlft.advantage import MonteCarloRerollout
from rlft.envs import ManiSkill
from rlft.networks.policy_files import load_policy
from rlft.rollout import IterationRerollouts, Processes, ProcessRollouts
from rlft.rollout.answering import to_bytes
from rlft.rollout.worker_process import WorkerProcess
from rlft.rollout.workers import Answer, Site, WorkerHandle
from rlft.types import EnvFactory

WORKERS, ENVS, STEPS, SEED = 2, 100, 50, 1
GIGABIT = 1e9 / 8  # bytes per second


class Sizes(NamedTuple):
    """Bytes of one call of all workers."""

    common: int  # of the part that is the same for all
    own: int  # of the others, together
    answers: int  # together

    def sent(self, machines: int) -> int:
        """In all."""
        return machines * self.common + self.own + self.answers


class Weighed(Processes):
    """Worker processes of this machine whose messages are weighed."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, int, int]] = []

    def open(self, factory: EnvFactory, scenes: int) -> Site:
        """See `Workers.open`."""
        site, messages = super().open(factory, scenes), self.messages

        class Scales(WorkerProcess):
            def _exchange(self, common: bytes, own: bytes, answers: SimpleQueue[tuple[WorkerHandle, Answer]]) -> None:
                answered: SimpleQueue[tuple[WorkerHandle, Answer]] = SimpleQueue()
                super()._exchange(common, own, answered)
                _, answer = answered.get()
                messages.append((len(common), len(own), len(to_bytes(answer))))
                answers.put((self, answer))

        site.start = lambda: Scales(factory, scenes, site.queue)  # type: ignore[method-assign, arg-type]
        return site

    def of_last_call(self) -> Sizes:
        """Weighs what has been sent since this was last asked."""
        common, own, answers = zip(*self.messages, strict=True)
        self.messages.clear()
        return Sizes(max(common), sum(own), sum(answers))


def main() -> None:
    """Prints a table."""
    weak, workers = load_policy("pickcube/weak"), Weighed()
    env = ManiSkill(task="PickCube-v1", control_mode="pd_joint_delta_pos", device="cpu")
    with closing(ProcessRollouts(env, ENVS, WORKERS, workers)) as rollouts, torch.no_grad():
        start = rollouts.initial_states(SEED)
        workers.of_last_call()
        rollouts.collect(weak.actor, start, STEPS, SEED, 0)
        collected = workers.of_last_call()
        rollout, _, visited = rollouts.collect(weak.actor, start, STEPS, SEED, 0, keep_visited=True)
        with_states = workers.of_last_call()
        estimator = MonteCarloRerollout(num_samples=5, tail_steps=3, horizon="fresh", common_noise=True, gamma=0.95)
        simulator = IterationRerollouts(rollouts, weak.actor, visited, SEED, 0)
        critic = load_policy("pickcube/weak-gamma0.95").critic
        assert critic is not None
        estimator.estimate(rollout, critic, simulator)
        played = workers.of_last_call()
        rollouts.evaluate(weak.actor, 128, seed=SEED, deterministic=True)
        evaluated = workers.of_last_call()
    weights = len(to_bytes(weak.actor))
    print(f"{WORKERS} workers, one per machine; the weights of the policy are {weights:,} bytes of what is common\n")
    print("| kB | common, per machine | own, all workers | answers | env steps | bytes a step | steps/s at 1 Gbit/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, sizes, steps in (
        ("collect", collected, ENVS * STEPS),
        ("collect, states kept", with_states, ENVS * STEPS),
        ("re-rollouts", played, simulator.sim_steps),
        ("evaluation, 128 episodes", evaluated, 128 * rollouts.spec.max_episode_steps),
    ):
        per_step = sizes.sent(WORKERS) / steps
        parts = " | ".join(f"{part / 1e3:,.0f}" for part in sizes)
        print(f"| {name} | {parts} | {steps:,} | {per_step:,.0f} | {GIGABIT / per_step:,.0f} |")


if __name__ == "__main__":
    main()
