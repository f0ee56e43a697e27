"""What it costs to put a scene into a state, and what of it is what: microseconds per scene of PickCube-v1.

    python -m tests.benchmarks.bench_restore [--scenes 100] [--repeats 20]

A restore puts the bodies into a new PhysX system, because a used one remembers in which order contacts appeared
(`PhysxCpuBatch.unpack`), and then unpacks the state there. Medians; the parts are measured by themselves, so that they
do not quite add up.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import sapien
import torch
from sapien import physx

from rlft.envs import ManiSkill
from rlft.envs.maniskill import ManiSkillBatch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{args.scenes} scenes, load {os.getloadavg()[0]:.2f} at the start")
    batch = ManiSkillBatch(ManiSkill(device="cpu"), args.scenes)
    states, rows = batch.initial_states(0), range(args.scenes)
    packed = [state.tobytes() for state in states.physics.numpy()]
    px = batch.env.scene.px
    scenes = [px.scene.sub_scenes[row].entities for row in rows]
    action = batch.spec.blank_actions(args.scenes)

    def show(name: str, work: Callable[[], object]) -> None:
        seconds = []
        for _ in range(args.repeats):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
        print(f"{name:<52} {median(seconds) / args.scenes * 1e6:8.1f}", flush=True)

    show("an env step", lambda: batch.step(action))
    show("a restore, all scenes at once", lambda: batch.restore(rows, states))
    show("  unpacking into a system", lambda: [px.systems[row].unpack(packed[row]) for row in rows])
    show(f"  a new system with the {len(scenes[0])} entities of a scene", lambda: [px._renew(row) for row in rows])
    show("    an empty scene with a new system", lambda: [sapien.Scene([physx.PhysxCpuSystem()]) for _ in rows])
    show("    the settings of PhysX", lambda: [px.configure() for _ in rows])
    show("  numbers beside the physics", lambda: batch._task_state.restore(rows, states.task))


if __name__ == "__main__":
    main()
