"""A chain whose values are known in closed form: `n` steps from the goal, a positive action makes one of them.

Entering the goal pays 1 and terminates; whoever plays on there is paid again and again. Under a policy that moves with
probability p = 1/2, at gamma = 0.8 and without a time limit, V(1) = p / (1 - gamma (1 - p)) and
V(n) = V(1) (gamma p / (1 - gamma (1 - p)))^(n - 1).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlft.rollout import IterationRerollouts
from rlft.types import EnvFactory, EnvSpec, EnvStates, Obs, Rollout, Step, Visited
from tests.support.hand_made import ConstantActor

GAMMA = 0.8
VALUE = {1: 0.833333, 2: 0.555556, 3: 0.370370}  # of mu
LOST = 10  # from there nothing leads back, and the simulator returns NaN


def mu():
    """Moves with probability 1/2."""
    return ConstantActor([0.0])


@dataclass(frozen=True)
class Chain(EnvFactory):
    """Episodes begin `start` steps from the goal."""

    start: int = 3
    horizon: int = 100

    def make(self, num_envs):
        return ChainBatch(self, num_envs)


class ChainBatch:
    """`N` chains; implements `rlft.types.BatchEnv`. Observation: the distance."""

    def __init__(self, config, num_envs):
        self.config, self.num_envs = config, num_envs
        self.spec = EnvSpec("Chain", 1, 1, -torch.ones(1), torch.ones(1), config.horizon)
        self.distance = torch.full((num_envs, 1), float(config.start))
        self.active = list(range(num_envs))

    def step(self, action):
        moves = (action > 0) & (self.distance < LOST)
        moved = (self.distance - moves.float()).clamp(min=0)
        self.distance[self.active] = moved[self.active]
        goal = self.distance[:, 0] == 0
        obs = torch.where(self.distance < LOST, self.distance, float("nan"))
        return Step(obs=Obs(obs), reward=goal.float(), terminated=goal, success=goal)

    def save(self, rows: Sequence[int]):
        physics = self.distance[list(rows)].contiguous().view(torch.uint8).clone()
        return physics, torch.zeros(len(rows), 0, dtype=torch.float64)

    def restore(self, rows, states):
        self.distance[list(rows)] = states.physics.contiguous().view(torch.float32)

    def activate(self, rows):
        self.active = list(rows)
        return len(self.active)

    def initial_states(self, seed):
        return states_at([self.config.start] * self.num_envs)


def states_at(distances, elapsed=0):
    """States so far from the goal."""
    obs = torch.tensor(distances, dtype=torch.float32)[:, None]
    count = len(distances)
    nothing = torch.zeros(count, 0, dtype=torch.float64)
    number = torch.zeros(count, dtype=torch.int64)
    physics = obs.contiguous().view(torch.uint8).clone()
    return EnvStates(physics=physics, task=nothing, obs=Obs(obs), elapsed=number + elapsed, episode=number)


def one_step(env, distances, actions, elapsed=0):
    """A rollout of one step, `[1, N]`, from these distances with these actions, and the states before and after it."""
    before = states_at(distances, elapsed)
    batch = env.make(len(distances))
    batch.restore(range(len(distances)), before)
    action = torch.as_tensor(actions, dtype=torch.float32)[:, None]
    step = batch.step(action.clamp(-1, 1))
    physics, _ = batch.save(range(len(distances)))
    after = dataclasses.replace(before, physics=physics, obs=step.obs, elapsed=before.elapsed + 1)
    rollout = Rollout(
        obs=before.obs,
        action=action,
        log_prob=torch.zeros(len(distances)),
        log_prob_known=torch.ones(len(distances), dtype=torch.bool),
        next_obs=step.obs,
        reward=step.reward,
        terminated=step.terminated,
        truncated=~step.terminated & (after.elapsed >= env.horizon),
        success=step.success,
        elapsed=before.elapsed,
    )[None]
    place = torch.arange(2 * len(distances)).view(2, 1, -1)
    return rollout, Visited(states=EnvStates.cat([before, after]), before=place[0], after=place[1])


class Spy(IterationRerollouts):
    """Keeps the jobs that it is given."""

    def __init__(self, rollouts, visited, actor=None, seed=1, iteration=0):
        super().__init__(rollouts, actor or mu(), visited, seed, iteration, lambda begun, total: None)
        self.jobs = []

    def play(self, actor, jobs, gamma):
        self.jobs.append(jobs)
        return super().play(actor, jobs, gamma)
