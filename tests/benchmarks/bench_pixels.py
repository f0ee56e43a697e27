"""What pictures of PickCube cost: env steps per second in one process and the one that draws for it.

    python -m tests.benchmarks.bench_pixels

Eight scenes; the best of some rounds counts. The first picture includes building the drawn scene and its shaders.
"""

from __future__ import annotations

import time

import torch

from rlft.envs import ManiSkill

SCENES, ROUNDS = 8, 3
KINDS = {
    "state": ManiSkill(device="cpu"),
    **{
        f"{meshes} meshes, {size} pixels": ManiSkill(device="cpu", obs="rgb", image_size=size, zoom=2.0, meshes=meshes)
        for meshes, size in (("collision", 64), ("collision", 128), ("visual", 64), ("visual", 128))
    },
}


def measure(env: ManiSkill) -> tuple[float, float]:
    """Seconds until the first observations, and env steps per second from then on."""
    begun = time.perf_counter()
    scenes = env.make(SCENES)
    scenes.initial_states(1)
    first = time.perf_counter() - begun
    action = torch.zeros(SCENES, scenes.spec.action_dim)
    rates = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        scenes.step(action)
        rates.append(SCENES / (time.perf_counter() - begun))
    return first, max(rates)


def main() -> None:
    """Prints a line per kind."""
    torch.set_num_threads(1)
    for name, env in KINDS.items():
        first, rate = measure(env)
        print(f"{name:30}  first {first:5.1f} s  {rate:7.1f} env steps/s", flush=True)


if __name__ == "__main__":
    main()
