"""PointReach that tells what happens in it: numbers of every step, terms of its reward, and what that is made of."""

from dataclasses import dataclass, replace

import torch

from rlft.envs.point_reach import PointReach, PointReachBatch
from rlft.types import NOTHING, Behaviour, Failure, Measure

INFO = ("distance", "moved", "reward/goal", "reward/near", "reward_input/distance", "reward_input/goal")
BEHAVIOUR = Behaviour(
    (
        Measure("least_distance", "distance", "min"),
        Measure("greatest_distance", "distance", "max"),
        Measure("mean_moved", "moved", "mean"),
        Measure("distance_at_end", "distance", "last"),
    ),
    (Failure("comes_near", {"least_distance": (None, 0.4)}), Failure("stays_away", {"least_distance": (0.4, 1.0)})),
)


@dataclass(frozen=True)
class TellingReach(PointReach):
    """Its reward is 1 at the goal, less `near` times the distance, and all of it times `factor`.

    Args:
        near: of the reward.
        factor: of the reward.
        told: whether it tells anything.
        recomputes: whether stored rewards can be computed again.
    """

    near: float = 0.1
    factor: float = 1.0
    told: bool = True
    recomputes: bool = True

    def make(self, num_envs):
        return TellingBatch(self, num_envs)

    def reward_settings(self, spec):
        return {"near": self.near, "factor": self.factor}

    def rewards_again(self, spec, before, inputs):
        if not self.recomputes:
            raise NotImplementedError
        return sum(self.terms(inputs["distance"], inputs["goal"]))

    def terms(self, distance, goal):
        return self.factor * goal, -self.factor * self.near * distance


class TellingBatch(PointReachBatch):
    """Its points."""

    def __init__(self, config, num_envs):
        super().__init__(config, num_envs)
        self.telling = config
        if config.told:
            self.spec = replace(self.spec, info=INFO, behaviour=BEHAVIOUR)

    def step(self, action):
        step = super().step(action)
        distance, goal = step.obs.state[:, 4:].norm(dim=1), step.success.float()
        terms = self.telling.terms(distance, goal)
        told = torch.stack([distance, step.obs.state[:, 2:4].norm(dim=1), *terms, distance, goal], 1)
        return replace(step, reward=sum(terms), info=told if self.telling.told else NOTHING)
