"""The `cuda_*` buffers of ManiSkill's GPU simulation, over CPU scenes: tensors that fetch themselves.

After a substep nothing is copied until task code indexes a buffer, and then only the links, joints and columns that
were asked for. What was asked for after one control step is read during the next one as soon as each scene has moved,
while its data is still in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sapien import physx
from torch import Size, Tensor

POSE, VELOCITY = slice(0, 7), slice(7, 13)  # columns of a rigid-body row: xyz + wxyz, linear + angular (m, m/s, rad/s)
ALL = (slice(None), slice(None))


class Buffer:
    """A tensor `[R, ...]` that remembers which rows were written since they were last applied to the simulator."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.data = torch.zeros(*shape)
        self._array = self.data.numpy()  # the same memory
        self.written: set[int] = set()

    def __getitem__(self, key: Any) -> Tensor:
        self._refresh(key)
        return self.data[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refresh(ALL)  # what is not written must survive the next fetch
        self.data[key] = value
        rows = key[0] if isinstance(key, tuple) else key
        self.written.update(torch.arange(len(self.data))[rows].flatten().tolist())

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> Size:
        """As of a tensor."""
        return self.data.shape

    def torch(self) -> Buffer:
        """What SAPIEN's arrays need to become tensors; this one is used like a tensor as it is."""
        return self

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Lets `torch.zeros_like(buffer)` and friends see the plain tensor."""
        plain = tuple(a[:] if isinstance(a, Buffer) else a for a in args)
        return func(*plain, **(kwargs or {}))

    def take_written(self) -> list[int]:
        """The rows to apply, in order; forgets them."""
        rows = sorted(self.written)
        self.written.clear()
        return rows

    def _refresh(self, key: Any) -> None:
        """Fetches what `key` is about to read."""


class FetchedBuffer(Buffer):
    """A buffer whose rows come from the simulator, in groups: one per ManiSkill struct, e.g. one link of every scene.

    A group has parts, each some columns and the function that reads them off one object. Reading through the index
    tensor of a struct fetches that group; any other index fetches everything.

    Args:
        groups: the simulator's objects, in the order of the rows.
        parts: columns and reader of each part.
        flush: runs the substeps that are pending; called before anything is fetched.
    """

    def __init__(
        self,
        width: int,
        groups: Sequence[Sequence[Any]],
        parts: Sequence[tuple[slice, Callable[[Any], Any]]],
        flush: Callable[[], None],
    ) -> None:
        super().__init__((sum(map(len, groups)), width))
        starts = np.cumsum([0, *(len(group) for group in groups)]).tolist()
        self.groups = list(zip(starts, groups, strict=False))
        self.parts = parts
        self.flush = flush
        self.groups_of: dict[int, Sequence[int]] = {}  # id of an index tensor -> the groups it reads
        self.keep: list[Tensor] = []  # keeps those ids from being reused
        self.per_scene: set[int] = set()  # groups with one object in every scene, in the scenes' order
        self.fresh: set[tuple[int, int]] = set()  # (group, part) that agree with the simulator
        self.wanted: set[tuple[int, int]] = set()  # (group, part) that were read since the last substep

    def register(self, index: Tensor) -> None:
        """Announces an index tensor through which a struct will read this buffer."""
        rows = set(index.tolist())
        self.groups_of[id(index)] = [
            g for g, (start, group) in enumerate(self.groups) if rows & set(range(start, start + len(group)))
        ]
        self.keep.append(index)

    def invalidate(self) -> None:
        """The simulator's state was set: all that was fetched is stale."""
        self.fresh.clear()

    def stepped(self) -> None:
        """The simulator is about to move on: what was fetched will be stale."""
        self.fresh.clear()

    def store(self, group: int, part: int, values: Sequence[Any], objects: Sequence[int]) -> None:
        """Takes what was read off these objects of a group."""
        start, columns = self.groups[group][0], self.parts[part][0]
        array = np.asarray(values, dtype=np.float32)
        first, last = columns.start or 0, (columns.start or 0) + array.shape[1]
        every = len(objects) == len(self.groups[group][1])
        rows = slice(start, start + len(array)) if every else [start + i for i in objects]
        self._array[rows, first:last] = array
        self.fresh.add((group, part))

    def _refresh(self, key: Any) -> None:
        self.flush()
        index, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        parts = [0] if isinstance(columns, slice) and columns.stop == POSE.stop else range(len(self.parts))
        for group in self.groups_of.get(id(index), range(len(self.groups))):
            for part in parts:
                self.wanted.add((group, part))
                if (group, part) not in self.fresh:
                    read = self.parts[part][1]
                    objects = self.groups[group][1]
                    self.store(group, part, [read(obj) for obj in objects], range(len(objects)))


class BodyBuffer(FetchedBuffer):
    """Pose and velocity of actors and links, `[R, 13]`; part 0 is the pose."""

    def __init__(self, groups: Sequence[Sequence[Any]], flush: Callable[[], None]) -> None:
        super().__init__(13, groups, [(POSE, _read_pose), (VELOCITY, _read_velocity)], flush)
        kinematic = [g for g, (_, bodies) in enumerate(self.groups) if all(is_kinematic(b) for b in bodies)]
        self.immobile = {(g, part) for g in kinematic for part in range(len(self.parts))}

    def stepped(self) -> None:
        """As above; physics does not move kinematic actors such as goal markers."""
        self.fresh &= self.immobile


class JointBuffer(FetchedBuffer):
    """A generalised coordinate (`qpos`, `qvel`, `qacc`) of articulations, `[R, dof]`, zero-padded."""

    def __init__(self, width: int, groups: Sequence[Sequence[Any]], name: str, flush: Callable[[], None]) -> None:
        super().__init__(width, groups, [(slice(None), lambda articulation: getattr(articulation, name))], flush)

    def _refresh(self, key: Any) -> None:
        super()._refresh((key[0] if isinstance(key, tuple) else key, slice(None)))


def is_kinematic(body: Any) -> bool:
    """Whether only code moves this body."""
    return isinstance(body, physx.PhysxRigidDynamicComponent) and bool(body.kinematic)


def _read_pose(body: Any) -> tuple[float, ...]:
    pose: tuple[float, ...] = body.entity_pose.__getstate__()
    return pose


def _read_velocity(body: Any) -> tuple[float, ...]:
    return (*body.linear_velocity, *body.angular_velocity)
