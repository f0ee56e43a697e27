"""Which rewards a task has: those that it lists, less those that its code does not compute."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal, get_args

import torch

RewardMode = Literal["sparse", "dense", "normalized_dense"]
MODES: tuple[RewardMode, ...] = get_args(RewardMode)


def listed_reward_modes(task: type) -> tuple[RewardMode, ...]:
    """The reward modes that a task class says it has."""
    return tuple(mode for mode in MODES if mode in getattr(task, "SUPPORTED_REWARD_MODES", MODES))


def reward_modes(env: Any) -> tuple[RewardMode, ...]:
    """The reward modes in which a step of `env` succeeds; tries them all, and steps `env`."""
    before = env._reward_mode
    working: list[RewardMode] = []
    for mode in listed_reward_modes(type(env)):
        with suppress(Exception):  # whatever it is, this mode does not work
            env._reward_mode = mode
            env.step(middle_action(env))
            working.append(mode)
    env._reward_mode = before
    return tuple(working)


def middle_action(env: Any) -> torch.Tensor:
    """An action `[N, A]` within the bounds: zero where that is allowed."""
    space = env.single_action_space
    low, high = (torch.as_tensor(bound, device=env.device) for bound in (space.low, space.high))
    return torch.zeros_like(low).clamp(low, high).expand(env.num_envs, -1).clone()
