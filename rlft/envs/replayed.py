"""Environments whose states cannot be packed: a state is the seed of a reset and the actions since.

It is restored by a reset and the same actions again, undrawn, so an environment has to be a function of the seed and
the actions. Where one is on the way already, only the rest is replayed: nothing, for one that is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlft.errors import UserError
from rlft.types import EnvSpec, EnvStates, Obs, Step

HEADER = 16  # bytes of a state before the actions: seed and number of actions, int64
ROUNDING = 1e-4  # relative and absolute, by which another processor's replay may differ


@dataclass(frozen=True)
class Outcome:
    """What an action led to."""

    reward: float = 0.0
    terminated: bool = False
    success: bool = False
    info: tuple[float, ...] = ()  # numbers of `EnvSpec.info`


class Scene(Protocol):
    """One environment."""

    def reset(self, seed: int) -> None:
        """Begins an episode that depends on the seed alone, not on what was before."""
        ...

    def act(self, action: NDArray[np.generic]) -> Outcome:
        """Takes an action `[A]`; draws nothing."""
        ...

    def look(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """State `[O]` and image `[C, H, W]` of the observation; `[0]` for no image."""
        ...


class ReplayedBatch:
    """Scenes side by side; implements `rlft.types.BatchEnv`. A scene whose episode has ended stands still.

    Args:
        spec: of the environments.
        build: makes a scene; called when it is first needed.
        num_envs: how many there are.
    """

    def __init__(self, spec: EnvSpec, build: Callable[[], Scene], num_envs: int) -> None:
        self.spec, self.num_envs = spec, num_envs
        self._build = build
        self._scenes: dict[int, Scene] = {}
        self._active: Sequence[int] = range(num_envs)
        self._seeds: NDArray[np.int64] = np.full(num_envs, -1, np.int64)  # -1: not reset yet
        self._counts: NDArray[np.int64] = np.zeros(num_envs, np.int64)  # actions since the reset
        kind = np.float32 if spec.choices is None else np.int64 if spec.choices > 256 else np.uint8
        self._actions: NDArray[np.generic] = np.zeros((num_envs, spec.max_episode_steps, spec.action_dim), kind)
        self._outcomes = [Outcome(info=(0.0,) * len(spec.info))] * num_envs
        self._obs = spec.blank_obs(num_envs)

    def step(self, action: Tensor) -> Step:
        """Steps the active scenes; see `BatchEnv.step`."""
        actions = action.numpy().astype(self._actions.dtype)
        outcomes = [Outcome(terminated=o.terminated, success=o.success, info=o.info) for o in self._outcomes]
        for row in self._active:
            if not self._outcomes[row].terminated:
                outcomes[row] = self._act(row, actions[row])
                self._look(row)
        return Step(
            obs=self._obs.map(torch.clone),
            reward=torch.tensor([outcome.reward for outcome in outcomes], dtype=torch.float32),
            terminated=torch.tensor([outcome.terminated for outcome in outcomes]),
            success=torch.tensor([outcome.success for outcome in outcomes]),
            info=torch.tensor([outcome.info for outcome in outcomes], dtype=torch.float32),
        )

    def save(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Seeds and actions; see `BatchEnv.save`."""
        rows = list(rows)
        header = np.stack([self._seeds[rows], self._counts[rows]], 1).view(np.uint8)
        actions = np.ascontiguousarray(self._actions[rows]).reshape(len(rows), -1).view(np.uint8)
        return torch.from_numpy(np.concatenate([header, actions], 1)), torch.zeros(len(rows), 0, dtype=torch.float64)

    def restore(self, rows: Sequence[int], states: EnvStates) -> None:
        """Replays what leads into the states; see `BatchEnv.restore`.

        Raises:
            UserError: if it leads elsewhere.
        """
        for i, (row, packed) in enumerate(zip(rows, states.physics.numpy(), strict=True)):
            seed, count = packed[:HEADER].view(np.int64).tolist()
            actions = packed[HEADER:].view(self._actions.dtype).reshape(self._actions.shape[1:])
            if self._replay(row, seed, actions[:count]):
                self._check(row, states.obs[[i]])

    def scene(self, row: int) -> Scene:
        """One that has been put into a state."""
        return self._scenes[row]

    def activate(self, rows: Sequence[int]) -> int:
        """From now on only these scenes are stepped."""
        self._active = list(rows)
        return len(self._active)

    def initial_states(self, seed: int) -> EnvStates:
        """Episodes of `num_envs` seeds, all begun in the first scene: what comes after a restore begins them again."""
        states = [self._begin(int(one)) for one in np.random.SeedSequence(seed).generate_state(self.num_envs)]
        return EnvStates.cat(states)

    def _begin(self, seed: int) -> EnvStates:
        self._reset(0, seed)
        self._look(0)
        physics, task = self.save([0])
        zero = torch.zeros(1, dtype=torch.int64)
        return EnvStates(physics=physics, task=task, obs=self._obs[[0]], elapsed=zero, episode=zero)

    def _replay(self, row: int, seed: int, actions: NDArray[np.generic]) -> bool:
        """Brings a scene to where these actions lead; says whether anything had to be done."""
        done = int(self._counts[row])
        if self._seeds[row] != seed or self._actions[row, :done].tobytes() != actions[:done].tobytes():
            self._reset(row, seed)
            done = 0
        elif done == len(actions):
            return False
        for action in actions[done:]:
            self._act(row, action)
        self._look(row)
        return True

    def _reset(self, row: int, seed: int) -> None:
        if row not in self._scenes:
            self._scenes[row] = self._build()
        self._scenes[row].reset(seed)
        self._seeds[row], self._counts[row], self._actions[row] = seed, 0, 0
        self._outcomes[row] = Outcome(info=(0.0,) * len(self.spec.info))

    def _act(self, row: int, action: NDArray[np.generic]) -> Outcome:
        outcome = self._outcomes[row] = self._scenes[row].act(action)
        self._actions[row, self._counts[row]] = action
        self._counts[row] += 1
        return outcome

    def _look(self, row: int) -> None:
        state, image = self._scenes[row].look()
        self._obs.state[row], self._obs.image[row] = torch.from_numpy(state), torch.from_numpy(image)

    def _check(self, row: int, obs: Obs) -> None:
        """Compares what is seen now `[1]` with what was seen then."""
        states, pictures = (self._obs.state[[row]], obs.state), (self._obs.image[[row]], obs.image)
        same = torch.allclose(*states, ROUNDING, ROUNDING, equal_nan=True)
        apart = (pictures[0].float() - pictures[1].float()).abs()
        if not same or (apart.numel() and apart.mean() > 1):  # grey level
            raise UserError(
                f"{self.spec.task} cannot be put back: a reset with the same seed and the same {self._counts[row]} "
                "actions led elsewhere than before, so what happens in it depends on something else."
            )
