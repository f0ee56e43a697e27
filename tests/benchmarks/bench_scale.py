"""How iterations grow with scenes and with env steps: seconds, memory and rates of `rlft fit gae_ppo`.

    python -m tests.benchmarks.bench_scale [--scenes 50 200 800 1600 4000] [--env_steps 5000 50000 500000]

Every row is a run of its own, of two iterations with one pass over the data of each and no evaluation but those at the
start and the end, which are not counted. First more scenes, 20 env steps each; then more env steps of 100 scenes.
Learning is everything that is not collecting: advantages, and gradient steps on minibatches of 1,000 transitions.
Memory is the most that the main process, and the largest of its workers, have had (MiB); `start` is what the run
took besides its iterations.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rlft.runs.iterations import read_iterations

SCENES, STEPS, MINIBATCH = 100, 20, 1000
TITLES = ("scenes", "env steps", "start s", "collecting s", "steps/s", "learning s", "main MiB", "worker MiB")
MAIN = (  # runs rlft, and then tells the peak memory of its process and of the largest child
    "import resource, sys; from rlft.cli import main; status = main(sys.argv[1:]); "
    "print(*(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))); "
    "sys.exit(status)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, nargs="*", default=[50, 200, 800, 1600, 4000])
    parser.add_argument("--env_steps", type=int, nargs="*", default=[5000, 50_000, 500_000])
    args = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.2f} at the start")
    print("".join(f"{title:>14}" for title in TITLES))
    for scenes in args.scenes:
        show(scenes, STEPS)
    for env_steps in args.env_steps:
        show(SCENES, env_steps // SCENES)


def show(scenes: int, steps: int) -> None:
    """Makes a run and prints its row."""
    env_steps = scenes * steps
    with tempfile.TemporaryDirectory() as folder:
        options = [
            f"--data.num_envs={scenes}",
            f"--data.num_steps={steps}",
            f"--data.num_minibatches={max(1, env_steps // MINIBATCH)}",
            "--data.update_epochs=1",
            "--trainer.max_epochs=2",
            "--eval.every_n_iterations=2",
            f"--log_dir={folder}",
        ]
        command = [sys.executable, "-c", MAIN, "fit", "gae_ppo", *options]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        total = time.perf_counter() - started
        rows = read_iterations(next(Path(folder).glob("*/version_0")))
    last = rows[-1]
    start = total - sum(row.get("time/iteration", 0.0) for row in rows)
    memory = [int(number) / 1024 for number in done.stdout.split()[-2:]]
    values = (
        f"{scenes:,}",
        f"{env_steps:,}",
        f"{start:.1f}",
        f"{last['time/rollout']:.1f}",
        f"{env_steps / last['time/rollout']:,.0f}",
        f"{last['time/update']:.1f}",
        *(f"{one:,.0f}" for one in memory),
    )
    print("".join(f"{value:>14}" for value in values), flush=True)


if __name__ == "__main__":
    main()
