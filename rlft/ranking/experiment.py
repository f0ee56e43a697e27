"""The simulations of a ranking study, in the order in which they are made and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.ranking.parts import D, Parts
from rlft.ranking.simulation import Actions, Paths, Returns, Simulator
from rlft.types import Actor, Rollout, Rollouts

SEED = 2_000_003  # no training run of ours has it, so that no critic was trained on the states of a study
BLOCK = 16  # samples per action; see `Block`
LEAST = {"states": 2, "actions": 2, "samples": 4, "trajectories": 1, "training_steps": 1, "training_states": 10}
LEAST |= {"training_samples": 1, "num_envs": 2, "seed": 0}

Report = Callable[[str], Callable[[int, int], None]]  # opens a progress line


@dataclass(frozen=True)
class Settings:
    """The sizes of a study; see `rlft.commands.rank.rank`."""

    states: int = 200
    actions: int = 8
    samples: int = 64
    trajectories: int = 16
    gamma: float = 0.8
    tolerance: float = 1e-3
    training_steps: int = 400
    training_states: int = 200
    training_samples: int = 8
    num_envs: int = 128
    seed: int = SEED

    def __post_init__(self) -> None:
        """Refuses sizes with which nothing can be measured."""
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not 0 <= self.gamma <= 1:
            raise UserError(f"gamma is {self.gamma}; it must be from 0 to 1.")
        if not 0 < self.tolerance < 1:
            raise UserError(f"tolerance is {self.tolerance}; it must be between 0 and 1.")


@dataclass(frozen=True)
class Simulated:
    """Everything a study simulates."""

    training: Rollout  # for networks that are regressed on transitions
    actions: Actions
    truth: Tensor  # [N, J, K] samples of Q, independent of everything else
    paths: Paths
    training_actions: Actions  # other states, for networks that compare the actions of a state
    training_truth: Tensor  # [N', J, K']


@dataclass(frozen=True)
class Block:
    """Samples of the ground truth that are played and kept together, so that an interruption costs little."""

    name: str
    first: int
    samples: int  # of all blocks

    @property
    def size(self) -> int:
        """How many samples per action."""
        return min(BLOCK, self.samples - self.first)

    @property
    def title(self) -> str:
        """Name of the part."""
        return f"{self.name}, samples {self.first + 1} to {self.first + self.size} of {self.samples}"


class Study:
    """Simulates what is not yet in the file.

    Args:
        rollouts: the environments.
        actor: the policy whose actions are ranked.
        settings: sizes.
        parts: the file.
        report: opens a progress line.
        say: takes a line about the cost.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        actor: Actor,
        settings: Settings,
        parts: Parts,
        report: Report,
        say: Callable[[str], None],
    ) -> None:
        self.simulator = Simulator(
            rollouts, actor, settings.gamma, settings.tolerance, settings.seed, progress=lambda begun, total: None
        )
        self.settings, self.parts, self.report, self.say = settings, parts, report, say
        self._seconds, self._sim_steps = 0.0, 0  # of this process

    def simulate(self) -> Simulated:
        """All parts; after an interruption, those that are missing."""
        s = self.settings
        training = self._part("training rollout", Rollout, s.seed + 1, lambda sim: sim.rollout(s.training_steps))
        actions = self._part("actions", Actions, s.seed, lambda sim: sim.actions(s.states, s.actions))
        others = self._part(
            "actions to train on", Actions, s.seed + 2, lambda sim: sim.actions(s.training_states, s.actions)
        )
        truth = [Block("ground truth", k, s.samples) for k in range(0, s.samples, BLOCK)]
        labels = [Block("ground truth to train on", k, s.training_samples) for k in range(0, s.training_samples, BLOCK)]
        self._announce(
            *((block.title, actions, block.size) for block in truth),
            *((block.title, others, block.size) for block in labels),
            ("trajectories", actions, s.trajectories),
        )
        return Simulated(
            training=training,
            actions=actions,
            truth=torch.cat([self._returns(block, actions, s.seed) for block in truth], 2),
            training_actions=others,
            training_truth=torch.cat([self._returns(block, others, s.seed + 2) for block in labels], 2),
            paths=self._part("trajectories", Paths, s.seed, lambda sim: sim.paths(actions, s.trajectories)),
        )

    def _returns(self, block: Block, actions: Actions, seed: int) -> Tensor:
        part = self._part(block.title, Returns, seed, lambda sim: sim.returns(actions, block.size, block.first))
        return part.sample

    def _part(self, name: str, kind: type[D], seed: int, make: Callable[[Simulator], tuple[D, int]]) -> D:
        def timed() -> tuple[D, int]:
            begun = time.perf_counter()
            part, sim_steps = make(replace(self.simulator, seed=seed, progress=self.report(name)))
            self._seconds += time.perf_counter() - begun
            self._sim_steps += sim_steps
            return part, sim_steps

        return self.parts.get(name, kind, timed)

    def _announce(self, *plan: tuple[str, Actions, int]) -> None:
        """Says what is left of the plan (part, its actions, re-rollouts of each) and how long it takes at most."""
        left = sum(self.simulator.most_steps(of) * each for name, of, each in plan if self.parts.missing(name))
        if left and self._sim_steps:
            minutes = left / self._sim_steps * self._seconds / 60
            self.say(f"At most {left:,} simulator steps to go, {minutes:.1f} min at the speed so far.")
        elif left:
            self.say(f"At most {left:,} simulator steps to go.")
