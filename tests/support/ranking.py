"""A small study, for the tests of its parts."""

import torch

from rlft.envs import PointReach
from rlft.networks import GaussianActor
from rlft.ranking.experiment import Settings
from rlft.ranking.simulation import Actions, Paths, Simulator
from rlft.rollout import LocalRollouts
from rlft.types import Obs
from tests.support.chain import states_at

ENV, ENVS = PointReach(horizon=12, radius=0.5, speed=0.3), 8
SETTINGS = Settings(
    states=24,
    actions=4,
    samples=20,
    trajectories=3,
    gamma=0.9,
    training_steps=24,
    training_states=10,
    training_samples=2,
    num_envs=ENVS,
    seed=1,
)


def policy():
    """Wanders about, so that luck decides who reaches the goal."""
    torch.manual_seed(0)
    return GaussianActor(6, 2, 8, 1, init_log_std=0.0)


def simulator(rollouts=None, actor=None, gamma=0.9, tolerance=1e-3):
    rollouts = rollouts or LocalRollouts(ENV, ENVS)
    return Simulator(rollouts, actor or policy(), gamma, tolerance, seed=1, progress=lambda begun, total: None)


def random_trajectories(states=5, actions=3, paths=2, steps=6, seed=0):
    """Actions and paths of random rewards; lengths from 0, where the action ended the episode, to all steps."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    length = torch.randint(0, steps + 1, (states, actions, paths), generator=generator)
    length[0, 0], length[1, 0] = 0, steps
    ended = (length == 0).all(2)
    length[ended.logical_not() & (length == 0).any(2)] = 1  # an action ends the episode in all paths or in none
    running = torch.arange(steps)[:, None, None, None] < length
    shape = states, actions
    taken = Actions(
        obs=Obs(draw(states, 1)),
        action=draw(*shape, 1),
        reward=draw(*shape),
        terminated=ended,
        successors=states_at(draw(states * actions).tolist()),
    )
    followed = Paths(
        reward=draw(steps, *shape, paths) * running,
        next_obs=Obs(draw(steps, *shape, paths, 1) * running[..., None]),
        length=length,
    )
    return taken, followed
