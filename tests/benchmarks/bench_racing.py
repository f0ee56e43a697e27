"""What the raster is worth: decisions per second against the stock environment, and how its pictures differ.

    python -m tests.benchmarks.bench_racing

One core, frame skip 4, random choices, in turns so that a busy machine slows all of them; the best round counts. The
stock environment draws every frame, as `gymnasium.make` has it, or the last one of a decision, as `view: stock` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import gymnasium
import numpy as np
import torch

from rlft.envs import Racing
from rlft.envs.racing.driver import WAYPOINTS, PurePursuitDriver
from rlft.envs.racing.scene import Drive
from rlft.types import Obs

SKIP, ROUNDS, CARS = 4, 5, 16
STATES, TRACKS = 500, 5


def batch(env: Racing, decisions: int) -> Callable[[], float]:
    """Decisions per second of `CARS` cars."""
    cars = env.make(CARS)
    starts = cars.initial_states(1)
    actions = torch.randint(5, (decisions, CARS, 1), generator=torch.Generator().manual_seed(0))

    def play() -> float:
        cars.restore(range(CARS), starts)
        begun = time.perf_counter()
        for action in actions:
            cars.step(action)
        return decisions * CARS / (time.perf_counter() - begun)

    return play


def stock(decisions: int) -> Callable[[], float]:
    """Decisions per second of the environment as it comes."""
    env = gymnasium.make("CarRacing-v3", continuous=False)
    actions = np.random.default_rng(0).integers(5, size=decisions)

    def play() -> float:
        env.reset(seed=1)
        begun = time.perf_counter()
        for action in actions:
            for _ in range(SKIP):
                env.step(action)
        return decisions / (time.perf_counter() - begun)

    return play


def differences() -> np.ndarray:
    """Mean absolute difference to the stock picture above the dashboard, of `STATES` on the way of the driver."""
    driver, scene = PurePursuitDriver(), Drive(Racing(waypoints=WAYPOINTS, actions="discrete12", max_frames=1500))
    found = []
    for track in range(TRACKS):
        scene.reset(track)
        for _ in range(STATES // TRACKS):
            state, image = scene.look()
            assert scene.car is not None
            found.append(np.abs(image[0].astype(int) - scene.car.stock_picture())[:56].mean())
            obs = Obs(state=torch.from_numpy(state)[None])
            for _ in range(2):
                scene.act(driver.act(obs, torch.zeros(1, 0)).action[0].numpy())
    return np.array(found)


def main() -> None:
    """Prints both."""
    torch.set_num_threads(1)
    ways = {
        "raster": batch(Racing(), 60),
        "raster, no floats": batch(Racing(floats=False), 60),
        "floats, no picture": batch(Racing(image=False), 60),
        "stock, last frame drawn": batch(Racing(view="stock"), 4),
        "stock, as it comes": stock(12),
    }
    best = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for name, play in ways.items():
            best[name] = max(best[name], play())
    for name, rate in best.items():
        print(f"{name:26} {rate:8,.0f} decisions/s   raster is {best['raster'] / rate:5.1f} times as fast")
    found = differences()
    print(f"{len(found)} pictures: {found.mean():.2f} grey levels apart, at most {found.max():.2f}")


if __name__ == "__main__":
    main()
