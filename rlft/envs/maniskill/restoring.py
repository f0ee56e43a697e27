"""Whether a restored state determines what follows: tried once per task, before anything is built on it.

The same states are put into scenes with different pasts, at different times. The same actions must then lead to the
same observations, rewards, endings and states, and to the same values of whatever a reset sets: a counter that a reset
zeroes and a restore does not has told nothing yet, but it will. What differs is looked for in the attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rlft.envs.maniskill.batch import ManiSkillBatch
from rlft.envs.maniskill.task_state import MANISKILLS, owners, rows_of
from rlft.files.rows import entries_of
from rlft.types import EnvStates, Step

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill

SCENES = 4
STEPS = 3  # of a future
TOLERANCE = 1e-3  # of what must be equal; physics alone may differ by rounding
TOLERANCE_OF_RESET = 0.05  # between a reset and a restored reset, which know other contacts
DEPTH = 3  # of lists, dictionaries and objects in which a culprit is looked for
LIBRARIES = {"mani_skill", "sapien", "torch", "gymnasium", "trimesh", "transforms3d", "numpy", "builtins"}


@dataclass(frozen=True)
class _Future:
    """What followed: steps `[T, N, ...]`, the states `[N]` at their end, and attributes as they were then."""

    steps: Step
    states: EnvStates
    attributes: dict[str, Any]


@lru_cache
def flaw_of_restores(config: ManiSkill) -> str | None:
    """One sentence about why states of this task cannot be restored; `None` if they can."""
    batch = ManiSkillBatch(config, SCENES)
    actions = _actions(batch, seed=0)
    starts, reset = batch.initial_states(0), _attributes(batch.env)
    after_reset = _play(batch, actions)
    alike = _Alike(EnvStates.cat([starts[[0]]] * 2 + [after_reset.states[[1]]] * 2), actions[:, [0, 0, 1, 1]])
    early = alike.play(batch)
    batch.initial_states(1)
    same_after_reset = {name for name, value in _attributes(batch.env).items() if _same(value, reset.get(name))}
    _play(batch, torch.cat([_actions(batch, seed=1), _actions(batch, seed=2)]))
    late = alike.play(batch)
    found = [
        _difference(early, late, slice(None), slice(None)),
        *(_difference(future, future, slice(0, None, 2), slice(1, None, 2)) for future in (early, late)),
    ]
    difference = next((text for text in found if text), None) or _of_reset(after_reset, early)
    culprits = _culprits(batch, early, late)
    remembered = [name for name in culprits if name in same_after_reset]
    return _sentence(config, difference, remembered or culprits) if difference or remembered else None


@dataclass(frozen=True)
class _Alike:
    """States `[N]` in pairs, and actions `[T, N, A]` in pairs."""

    states: EnvStates
    actions: Tensor

    def play(self, batch: ManiSkillBatch) -> _Future:
        """What follows from the states, put into whatever the scenes are doing."""
        batch.restore(range(SCENES), self.states)
        return _play(batch, self.actions)


def _actions(batch: ManiSkillBatch, seed: int) -> Tensor:
    """`[T, N, A]`, within the bounds where they are finite."""
    low, high = batch.spec.action_low.clamp(-1, 1), batch.spec.action_high.clamp(-1, 1)
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(STEPS, SCENES, len(low), generator=generator)


def _play(batch: ManiSkillBatch, actions: Tensor) -> _Future:
    steps = [batch.step(action) for action in actions]
    physics, task = batch.save(range(SCENES))
    elapsed = torch.full((SCENES,), len(steps))
    episode = torch.zeros_like(elapsed)
    states = EnvStates(physics=physics, task=task, obs=steps[-1].obs, elapsed=elapsed, episode=episode)
    return _Future(Step.stack(steps), states, _attributes(batch.env))


def _difference(one: _Future, other: _Future, rows: slice, others: slice) -> str | None:
    """In what two futures of the same states differ."""
    theirs = entries_of(other.steps)
    for name, ours in entries_of(one.steps).items():
        first, second = ours[:, rows].float(), theirs[name][:, others].float()
        if not torch.allclose(first, second, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True):
            return name
    first, second = (state.physics.contiguous().view(torch.float32) for state in (one.states, other.states))
    if not torch.allclose(first[rows], second[others], atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True):
        return "state"
    return None


def _of_reset(after_reset: _Future, restored: _Future) -> str | None:
    """In what the future of a reset differs grossly from that of the same state restored, in scene 0."""
    for name in ("obs", "reward"):
        first, second = (entries_of(future.steps)[name][:, 0] for future in (after_reset, restored))
        if not torch.allclose(first, second, atol=TOLERANCE_OF_RESET, rtol=TOLERANCE_OF_RESET, equal_nan=True):
            return name
    return None


def _sentence(config: ManiSkill, difference: str | None, culprits: list[str]) -> str:
    named = " and ".join(f"{name.partition('.')[2]!r} of its {name.partition('.')[0]}" for name in culprits[:3])
    lead = f"from the same restored state the same actions lead to another {difference or 'value'}"
    because = "" if not named else f" of {named}" if difference is None else f", for a restore leaves {named} alone"
    return (
        f"Task {config.task}: {lead}{because}. Rollouts need states that can be restored: what a task remembers must "
        "be tensors with one row per scene, as attributes or in dictionaries."
    )


# ---- attributes --------------------------------------------------------------------------------------------------


def _culprits(batch: ManiSkillBatch, one: _Future, other: _Future) -> list[str]:
    """Names of attributes that differ although they should be equal and that are no part of a state."""
    carried = {".".join((slot.owner, *slot.path)) for slot in batch._task_state.slots}
    names = sorted(one.attributes.keys() | other.attributes.keys(), key=lambda name: (name.count("."), name))
    differing = [name for name in names if not _same(one.attributes.get(name), other.attributes.get(name))]
    return [name for name in differing if name not in carried]


def _attributes(env: Any) -> dict[str, Any]:
    """Numbers, texts and arrays in task, robot and controllers, also nested, by dotted name; copies."""
    return {
        f"{owner}.{name}": value
        for owner, thing in owners(env).items()
        for name, value in _leaves({k: v for k, v in vars(thing).items() if k not in MANISKILLS}, DEPTH)
    }


def _leaves(content: Any, depth: int, name: str = "") -> Iterator[tuple[str, Any]]:
    rows = rows_of(content)
    if rows is not None:
        yield name, rows.detach().cpu().numpy().copy()
    elif isinstance(content, (bool, int, float, str)):
        yield name, content
    elif depth and (inner := _inside(content)):
        for key, value in inner.items():
            yield from _leaves(value, depth - 1, f"{name}.{key}" if name else str(key))


def _inside(content: Any) -> dict[Any, Any]:
    """What a container or an object of the user's own holds; libraries' objects are left alone."""
    if isinstance(content, dict):
        return content
    if isinstance(content, (list, tuple)):
        return dict(enumerate(content))
    own = hasattr(content, "__dict__") and type(content).__module__.split(".")[0] not in LIBRARIES
    return vars(content) if own else {}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and np.allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True)
    return type(one) is type(other) and bool(one == other)
