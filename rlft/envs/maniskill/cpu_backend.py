"""Installing `PhysxCpuBatch` in ManiSkill as one more simulation backend.

ManiSkill's structs find their rows of a GPU buffer through indices that CPU bodies do not have; they learn to ask the
batch instead. Environments on any other backend are left exactly as they are.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from weakref import WeakSet

import sapien
import torch
from mani_skill.agents.controllers.utils.kinematics import Kinematics
from mani_skill.envs import sapien_env
from mani_skill.envs.scene import ManiSkillScene
from mani_skill.envs.utils.system.backend import BackendInfo
from mani_skill.utils.structs.articulation import Articulation
from mani_skill.utils.structs.articulation_joint import ArticulationJoint
from mani_skill.utils.structs.base import PhysxRigidBodyComponentStruct
from sapien import physx

from rlft.envs.maniskill.cpu_batch import PhysxCpuBatch
from rlft.errors import UserError

# Every PhysX system takes one of the 1,024 thread-local keys of a process; when none is left, the interpreter dies.
# Python, torch and SAPIEN take some 25, and a restore builds a new system before the old one goes.
MAX_SCENES = 960
_batches: WeakSet[PhysxCpuBatch] = WeakSet()


class _CpuBatchDevice:
    """What ManiSkill asks its simulation device: whether drive targets go through the GPU interface. They do."""

    def is_cuda(self) -> bool:
        return True


class _Scenes(ManiSkillScene):  # type: ignore[misc]  # ManiSkill has no types
    """Scenes that share nothing: each needs its own ground, of which ManiSkill builds one for all GPU scenes."""

    def create_actor_builder(self) -> Any:
        """A builder that gives every scene its plane collisions."""
        builder = super().create_actor_builder()
        builder.set_allow_overlapping_plane_collisions(True)
        return builder


class _BatchedScenes:
    """Mixin over a task class: N CPU scenes where the task would build one."""

    num_envs: int

    def _setup_scene(self) -> None:
        env: Any = self
        _check_room(self.num_envs)
        env._set_scene_config()
        systems = [physx.PhysxCpuSystem() for _ in range(self.num_envs)]
        scenes = [sapien.Scene([system]) for system in systems]
        env.scene = _Scenes(scenes, sim_config=env.sim_config, device=env.device, backend=env.backend)
        env.scene.px = PhysxCpuBatch(systems, env._set_scene_config)
        _batches.add(env.scene.px)
        env.scene.px.scene = env.scene
        env.scene.gpu_sim_enabled = True
        env.scene.px.timestep = 1.0 / env._sim_freq


def _check_room(num_envs: int) -> None:
    """Refuses scenes for which this process has no room, instead of letting it die."""
    if _scenes() + num_envs > MAX_SCENES:
        gc.collect()  # environments are circles of references
    if _scenes() + num_envs > MAX_SCENES:
        raise UserError(
            f"{num_envs} more scenes do not fit into this process, which has {_scenes()} and room for {MAX_SCENES}; "
            "set num_envs lower or num_workers higher."
        )


def _scenes() -> int:
    """Scenes that are simulated in this process."""
    return sum(len(batch.systems) for batch in _batches)


def _batch_of(struct: Any) -> PhysxCpuBatch | None:
    return struct.scene.px if isinstance(struct.scene.px, PhysxCpuBatch) else None


def _install() -> None:
    """Teaches ManiSkill's structs to find their rows in a `PhysxCpuBatch`; other backends are left as they are."""

    def replace(cls: Any, name: str, ours: Any) -> None:
        theirs = cls.__dict__[name]
        compute = theirs.func if isinstance(theirs, cached_property) else theirs.fget
        wrapper: Any = cached_property if isinstance(theirs, cached_property) else property
        prop = wrapper(lambda self: ours(self, px) if (px := _batch_of(self)) else compute(self))
        if isinstance(prop, cached_property):
            prop.__set_name__(cls, name)
        setattr(cls, name, prop)

    replace(PhysxRigidBodyComponentStruct, "_body_data_index", lambda self, px: px.body_index(self._bodies))
    replace(PhysxRigidBodyComponentStruct, "_body_data", lambda self, px: px.cuda_rigid_body_data)
    replace(Articulation, "_data_index", lambda self, px: px.articulation_index(self._objs))
    replace(ArticulationJoint, "_data_index", lambda self, px: px.articulation_index(self._physx_articulations))

    # Inverse kinematics: the torch solver of the GPU path handles a batch, the Pinocchio one handles one environment.
    setup_cpu = Kinematics._setup_cpu
    Kinematics._setup_cpu = lambda self: self._setup_gpu() if _batch_of(self.articulation) else setup_cpu(self)


_install()


@contextmanager
def cpu_batch_backend() -> Iterator[None]:
    """While active, `BaseEnv.__init__` believes in a backend that takes `num_envs > 1` on the CPU."""
    info = BackendInfo(
        device=torch.device("cpu"),
        sim_device=_CpuBatchDevice(),
        sim_backend="physx_cpu_batch",
        render_device=None,
        render_backend="none",
    )
    # Before a build ManiSkill collects garbage, which takes longer than the build; `_check_room` does where it matters.
    uncollected = patch.object(sapien_env, "gc", SimpleNamespace(collect=lambda: 0))
    with patch.object(sapien_env, "parse_sim_and_render_backend", lambda *_: info), uncollected:
        yield


def batched(cls: type) -> type:
    """The task class `cls` with N CPU scenes; instantiate it under `cpu_batch_backend()`."""
    return type(cls.__name__, (_BatchedScenes, cls), {})
