"""Environments: what they are like, and what they can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlft.types.behaviour import NO_BEHAVIOUR, Behaviour
from rlft.types.goals import Goals
from rlft.types.observation import Obs
from rlft.types.rows import NOTHING, TensorRows, filled
from rlft.types.settings import Primitive, settings_of


@dataclass(frozen=True)
class EnvSpec:
    """What a policy needs to know about an environment."""

    task: str
    obs_dim: int  # numbers of an observation's state
    action_dim: int  # 1 where an action is a choice
    action_low: Tensor  # [A]; int64 where an action is a choice, like actions: 0
    action_high: Tensor  # [A]; then the number of choices less 1
    max_episode_steps: int  # env steps until an episode is truncated
    robot: str | None = None  # as it was built, also where the configuration leaves the choice to the task
    control_mode: str | None = None  # likewise
    default_reward_mode: str | None = None  # of recordings that name none
    goals: Goals | None = None  # in observations; `None` if there are none, or they do not tell success
    stages: tuple[str, ...] = ()  # that training episodes can begin in; there are none unless it is a `StagedEnv`
    info: tuple[str, ...] = ()  # names of the numbers that steps have beside observation and reward
    behaviour: Behaviour = NO_BEHAVIOUR  # what is told of evaluation episodes
    reward_definition: str = ""  # what the task says of its reward, as json; nothing if it does not say
    image: tuple[int, int, int] | None = None  # channels, height and width of an observation's picture, if it has one
    choices: int | None = None  # actions are numbers below this, int64 [..., 1]; `None` if they are vectors
    privileged_dim: int = 0  # numbers of an observation that only a demonstrator may see
    snapshots: bool = True  # False where going back to a state means to play everything since the reset again

    def blank_obs(self, *size: int) -> Obs:
        """Observations `[*size]` of nothing, to be written into."""
        image = torch.zeros(*size, *(self.image or (0,)), dtype=torch.uint8)
        return Obs(torch.zeros(*size, self.obs_dim), image, torch.zeros(*size, self.privileged_dim))

    def blank_actions(self, *size: int) -> Tensor:
        """Actions `[*size, A]` of 0, of the type that the environment's have."""
        return self.action_low.new_zeros(*size, self.action_dim)

    def named(self, prefix: str) -> dict[str, int]:
        """The columns of `info` whose names begin with `prefix`, by what follows it."""
        return {name.removeprefix(prefix): i for i, name in enumerate(self.info) if name.startswith(prefix)}


REWARD_TERM, REWARD_INPUT = "reward/", "reward_input/"  # prefixes in `info`: parts of a reward, and what it is made of


@dataclass(frozen=True)
class EnvStates(TensorRows):
    """Everything the future of `M` environments depends on, besides the actions.

    A state may be restored into any scene of any worker; from there the same actions lead to the same future, bit for
    bit on the CPU.
    """

    physics: Tensor  # [M, P] uint8, the simulator's packed state
    task: Tensor  # [M, Q] float64, per-environment tensors of the task and its controllers
    obs: Obs  # [M], the observation to act on: contact-derived entries are stale after a restore
    elapsed: Tensor  # [M] int64, env steps since the episode began
    episode: Tensor  # [M] int64, the number of the running episode in the bank of initial states


@dataclass(frozen=True)
class Step(TensorRows):
    """What one step of a batch of environments returned; nothing has been reset yet."""

    obs: Obs  # [N], the true successor
    reward: Tensor  # [N]
    terminated: Tensor  # [N] bool, success or failure as the task defines them
    success: Tensor  # [N] bool
    info: Tensor = NOTHING  # [N, I], what the task tells beside that, see `EnvSpec.info`; I = 0 for most tasks

    def __post_init__(self) -> None:
        filled(self, "info", self.reward)


class BatchEnv(Protocol):
    """N environments stepped together, without automatic reset."""

    spec: EnvSpec
    num_envs: int

    def step(self, action: Tensor) -> Step:
        """Steps the active environments with `action [N, A]`, already clipped."""
        ...

    def save(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Physics `[M, P]` and task state `[M, Q]` of these environments."""
        ...

    def restore(self, rows: Sequence[int], states: EnvStates) -> None:
        """Puts environment `rows[i]` into `states[i]`."""
        ...

    def activate(self, rows: Sequence[int]) -> int:
        """From now on only these environments need to be simulated; returns how many each step simulates."""
        ...

    def initial_states(self, seed: int) -> EnvStates:
        """The states of all `num_envs` environments after a reset with `seed`."""
        ...


class Renderer(Protocol):
    """Draws states of one task."""

    device: str  # what draws, in words

    def aim(self, states: EnvStates) -> None:
        """Turns the camera so that it sees what happens in `states [M]`, as close as they allow."""
        ...

    def frames(self, states: EnvStates) -> NDArray[np.uint8]:
        """Pictures `[M, H, W, 3]` of `states [M]`.

        Raises:
            UserError: if the drawn scene cannot be put into a state.
        """
        ...


class EnvFactory(ABC):
    """Configuration of an environment: small, picklable, sent to every worker."""

    @abstractmethod
    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` environments.

        Raises:
            UserError: if this machine or this package cannot run the task as configured.
        """

    def starts(self) -> str:
        """All that initial states depend on but their seed: equal texts mean equal states for equal seeds."""
        return repr(self)

    def data_settings(self) -> Mapping[str, Primitive]:
        """What transitions depend on: a stored rollout is used only where these are equal."""
        return settings_of(self)

    def reward_settings(self, spec: EnvSpec) -> Mapping[str, Primitive]:
        """What rewards depend on: stored ones are used on only where these are equal.

        Args:
            spec: of the environments that were built.
        """
        return self.data_settings()

    def rewards_again(self, spec: EnvSpec, before: Mapping[str, Primitive], inputs: Mapping[str, Tensor]) -> Tensor:
        """This environment's rewards `[...]` of steps that were stored under another reward.

        Args:
            spec: of the environments that were built.
            before: `reward_settings` of the steps when they were stored.
            inputs: what the steps told in `info` as `reward_input/<name>`, by name, `[...]` each.

        Raises:
            NotImplementedError: if it cannot say.
        """
        raise NotImplementedError

    def scenes_per_process(self) -> int | None:
        """How many environments fit into one process, beside those that states are drawn in; `None` for any number."""
        return None

    def on_gpu(self) -> bool:
        """Whether a GPU simulates, which one process drives better than several."""
        return False

    def drawing_device(self) -> str:
        """What would draw states in this process, in words.

        Raises:
            UserError: if nothing can, or these environments have no pictures for people.
        """
        raise NotImplementedError

    def renderer(self, size: int) -> Renderer:
        """What draws states for people, in pictures `size` pixels wide.

        Raises:
            UserError: if the task cannot be drawn.
        """
        raise NotImplementedError

    def describe(self, spec: EnvSpec) -> dict[str, Any]:
        """What a policy of this environment is made for, as its file records it; see `mismatches`.

        Args:
            spec: of the environments that were built.
        """
        return {
            "task": spec.task,
            "robot": spec.robot,
            "control_mode": spec.control_mode,
            "reward_mode": None,
            "task_options": {},
            "max_episode_steps": spec.max_episode_steps,
            "obs_dim": spec.obs_dim,
            "action_dim": spec.action_dim,
            "image": None if spec.image is None else list(spec.image),
            "choices": spec.choices,
        }


# What observations and actions mean depends on these; a policy is often trained with one reward or time limit and used
# with another.
LOOKS = ("zoom", "meshes")  # of tasks of ManiSkill whose pictures are observed
ACTS_WITH = ("task", "robot", "control_mode", "task_options", *LOOKS, "obs_dim", "action_dim", "image", "choices")


def seen_with(described: Mapping[str, Any]) -> dict[str, Any]:
    """The options that what is observed depends on, of what `EnvFactory.describe` says."""
    return {**described["task_options"], **{name: described[name] for name in LOOKS if name in described}}


def mismatches(
    described: Mapping[str, Any],
    recorded: Mapping[str, Any],
    *,
    accepted: Collection[str] = (),
    names: Sequence[str] = ACTS_WITH,
) -> list[str]:
    """In what the environment that a policy was made for differs from another one, as parts of a sentence.

    Args:
        described: the environment it is to act in, of `EnvFactory.describe`.
        recorded: what its file says; fields that are missing there do not differ, see `unrecorded`.
        accepted: names of fields that may differ.
        names: of the fields to compare.
    """
    return [
        f"{name} {recorded[name]} (here {described.get(name)})"
        for name in names
        if recorded.get(name) is not None and name not in accepted and recorded[name] != described.get(name)
    ]


def unrecorded(
    described: Mapping[str, Any], recorded: Mapping[str, Any], names: Sequence[str] = ACTS_WITH
) -> list[str]:
    """Names of the fields that a policy's file does not record, as older ones and those of others do not."""
    return [name for name in names if described.get(name) and recorded.get(name) is None]
