"""PPO with GAE from end to end: `rlft fit gae_ppo` against Stable-Baselines3 on stock ManiSkill, in one run.

    pip install stable-baselines3
    python -m tests.benchmarks.bench_against_sb3 [--iterations 3] [--repeats 3] [--pools 4 8] [--epochs 100]

Both make the same iterations, from new networks of the same widths: 5,000 env steps of PickCube-v1, and `--epochs`
times five gradient steps on minibatches of 1,000 transitions; gae_ppo has 100. Nothing is evaluated. Stable-Baselines3
has ManiSkill's CPU environments in a `SubprocVecEnv`, at the best of several numbers of processes, and the machine's
threads for learning, as rlft has. The sides take turns; printed are medians of seconds per iteration, and the median of
the ratios of the turns. The first iteration of every turn is left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rlft.envs import ManiSkill
from rlft.runs.iterations import read_iterations
from tests.benchmarks.bench_simulator import make_stock

ENV_STEPS, MINIBATCH = 5000, 1000  # as in gae_ppo.yaml
WIDTHS = [256, 256, 256]
Turn = list[tuple[float, float]]  # seconds of collecting and of learning, of every iteration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pools", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "mani_skill", "stable-baselines3"))
    print(f"{versions}; {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.2f} at the start", flush=True)
    turns: dict[str, list[Turn]] = {"rlft fit gae_ppo": []}
    for _ in range(args.repeats):
        turns["rlft fit gae_ppo"].append(ours(args.iterations, args.epochs))
        for processes in args.pools:
            turn = theirs(processes, args.iterations, args.epochs)
            turns.setdefault(f"Stable-Baselines3, {processes} processes", []).append(turn)
    print(f"{'seconds per 5,000 env steps':<36} {'collecting':>10} {'learning':>10} {'together':>10}")
    for name, made in turns.items():
        parts = [median(seconds[i] for turn in made for seconds in turn) for i in (0, 1)]
        print(f"{name:<36} {parts[0]:10.1f} {parts[1]:10.1f} {median(map(per_iteration, made)):10.1f}")
    mine, *others = turns.values()
    ratios = [median(per_iteration(b) / per_iteration(a) for a, b in zip(mine, other, strict=True)) for other in others]
    print(f"{'ratio to the best (goal 3)':<36} {min(ratios):32.2f}")


def per_iteration(turn: Turn) -> float:
    """Median seconds of an iteration."""
    return median(map(sum, turn))


def ours(iterations: int, epochs: int) -> Turn:
    """What the run itself has logged, without its evaluations."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "--model.policy=null",
            f"--data.update_epochs={epochs}",
            f"--trainer.max_epochs={iterations + 1}",
            f"--eval.every_n_iterations={iterations + 1}",
            f"--log_dir={folder}",
        ]
        subprocess.run([sys.executable, "-m", "rlft", "fit", "gae_ppo", *options], check=True, capture_output=True)
        rows = read_iterations(next(Path(folder).glob("*/version_0")))
    return [(row["time/rollout"], row["time/update"]) for row in rows if row["iteration"] > 1]


def theirs(processes: int, iterations: int, epochs: int) -> Turn:
    """Stable-Baselines3's PPO with the settings of gae_ppo.yaml."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import SubprocVecEnv
    from torch import nn

    class Timed(PPO):
        def collect_rollouts(self, *args: Any, **kwargs: Any) -> bool:
            started = time.perf_counter()
            go_on = super().collect_rollouts(*args, **kwargs)
            self.collecting = time.perf_counter() - started
            return go_on

        def train(self) -> None:
            started = time.perf_counter()
            super().train()
            turn.append((self.collecting, time.perf_counter() - started))

    turn: Turn = []
    config = ManiSkill(task="PickCube-v1", reward_mode="sparse", device="cpu")
    env = SubprocVecEnv([partial(make_stock, config, 1)] * processes, start_method="spawn")
    model = Timed(
        "MlpPolicy",
        env,
        n_steps=ENV_STEPS // processes,
        batch_size=MINIBATCH,
        n_epochs=epochs,
        learning_rate=3e-4,
        gamma=0.8,
        gae_lambda=0.9,
        max_grad_norm=0.5,
        policy_kwargs={"net_arch": {"pi": WIDTHS, "vf": WIDTHS}, "activation_fn": nn.Tanh},
        device="cpu",
    )
    model.learn((iterations + 1) * ENV_STEPS)
    env.close()
    return turn[1:]


if __name__ == "__main__":
    main()
