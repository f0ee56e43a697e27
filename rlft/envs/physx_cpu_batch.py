"""Many ordinary PhysX CPU scenes behind the interface of ManiSkill's GPU simulation.

ManiSkill computes observations, rewards and success of N parallel scenes from a handful of buffers of
`sapien.physx.PhysxGpuSystem`. `PhysxCpuBatch` offers the part of that interface which ManiSkill uses, over N
`PhysxCpuSystem` scenes and CPU tensors, so that a task's own, unmodified code runs batched in one process.

Buffers are *lazy*: after a step nothing is copied until task code indexes a buffer, and then only the links, joints
and columns that were asked for. Contacts are walked once per step for all queries together.

Shapes: `N` scenes, `R` rows of a buffer (a row is one body or one articulation of one scene).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from unittest.mock import patch

import numpy as np
import sapien
import torch
from mani_skill.agents.controllers.utils.kinematics import Kinematics
from mani_skill.envs import sapien_env
from mani_skill.envs.scene import ManiSkillScene
from mani_skill.envs.utils.system.backend import BackendInfo
from mani_skill.utils.structs.articulation import Articulation
from mani_skill.utils.structs.base import PhysxRigidBodyComponentStruct
from sapien import physx
from torch import Size, Tensor

POSE, VELOCITY = slice(0, 7), slice(7, 13)  # columns of a rigid-body row: xyz + wxyz, linear + angular (m, m/s, rad/s)


class _Buffer:
    """One `cuda_*` buffer: a tensor `[R, ...]` whose rows are fetched from the simulator when they are indexed.

    Rows are organised in groups, one per ManiSkill struct (the same link of every scene). Reading through the index
    tensor of a struct fetches that group; any other index fetches everything.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.data = torch.zeros(*shape)
        self.written: set[int] = set()  # rows written since they were last applied to the simulator

    def __getitem__(self, key: Any) -> Tensor:
        self._refresh(key)
        return self.data[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refresh((slice(None), slice(None)))  # what is not written must survive the next fetch
        self.data[key] = value
        rows = key[0] if isinstance(key, tuple) else key
        self.written.update(torch.arange(len(self.data))[rows].flatten().tolist())

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> Size:
        return self.data.shape

    def torch(self) -> _Buffer:
        return self

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Lets `torch.zeros_like(buffer)` and friends see the plain tensor."""
        plain = tuple(a[:] if isinstance(a, _Buffer) else a for a in args)
        return func(*plain, **(kwargs or {}))

    def take_written(self) -> list[int]:
        """The rows to apply, in order; forgets them."""
        rows = sorted(self.written)
        self.written.clear()
        return rows

    def _refresh(self, key: Any) -> None:
        """Fetches what `key` is about to read."""


class _GroupBuffer(_Buffer):
    """A buffer that knows how to fetch its rows, group by group."""

    def __init__(self, shape: Sequence[int], groups: Sequence[Sequence[Any]]) -> None:
        super().__init__(shape)
        starts = np.cumsum([0, *(len(group) for group in groups)])
        self.groups = [(slice(int(a), int(b)), g) for a, b, g in zip(starts, starts[1:], groups, strict=False)]
        self.groups_of: dict[int, Sequence[int]] = {}  # id of an index tensor -> the groups it reads
        self.keep: list[Tensor] = []  # keeps those ids from being reused
        self.fresh: set[Any] = set()

    def register(self, index: Tensor) -> None:
        """Announces an index tensor through which a struct will read this buffer."""
        rows = set(index.tolist())
        self.groups_of[id(index)] = [
            i for i, (where, _) in enumerate(self.groups) if rows & set(range(where.start, where.stop))
        ]
        self.keep.append(index)

    def invalidate(self, *, stepped: bool = False) -> None:
        """What was fetched is stale, because of a substep or because states were set."""
        self.fresh.clear()

    def _refresh(self, key: Any) -> None:
        index, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        for group in self.groups_of.get(id(index), range(len(self.groups))):
            self._fetch(group, columns)

    def _fetch(self, group: int, columns: Any) -> None:
        raise NotImplementedError


class _BodyBuffer(_GroupBuffer):
    """Pose and velocity of actors and links, `[R, 13]`."""

    def __init__(self, shape: Sequence[int], groups: Sequence[Sequence[Any]]) -> None:
        super().__init__(shape, groups)
        kinematic = [g for g, (_, bodies) in enumerate(self.groups) if all(_is_kinematic(b) for b in bodies)]
        self.immobile = {(g, part) for g in kinematic for part in ("pose", "velocity")}

    def invalidate(self, *, stepped: bool = False) -> None:
        """As above; physics does not move kinematic actors such as goal markers."""
        self.fresh = self.fresh & self.immobile if stepped else set()

    def _fetch(self, group: int, columns: Any) -> None:
        poses_only = isinstance(columns, slice) and columns.stop == 7
        where, bodies = self.groups[group]
        if (group, "pose") not in self.fresh:
            self.fresh.add((group, "pose"))
            values = np.array([b.entity_pose.__getstate__() for b in bodies], dtype=np.float32)
            self.data[where, POSE] = torch.from_numpy(values)
        if not poses_only and (group, "velocity") not in self.fresh:
            self.fresh.add((group, "velocity"))
            values = np.array([(*b.linear_velocity, *b.angular_velocity) for b in bodies], dtype=np.float32)
            self.data[where, VELOCITY] = torch.from_numpy(values)


class _JointBuffer(_GroupBuffer):
    """A generalised coordinate (`qpos`, `qvel`, `qacc`) of articulations, `[R, dof]`, zero-padded."""

    def __init__(self, width: int, groups: Sequence[Sequence[Any]], name: str) -> None:
        super().__init__((sum(map(len, groups)), width), groups)
        self.name = name

    def _fetch(self, group: int, columns: Any) -> None:
        if group in self.fresh:
            return
        self.fresh.add(group)
        where, articulations = self.groups[group]
        values = np.stack([getattr(a, self.name) for a in articulations])
        self.data[where, : values.shape[1]] = torch.from_numpy(values)


def _is_kinematic(body: Any) -> bool:
    return isinstance(body, physx.PhysxRigidDynamicComponent) and bool(body.kinematic)


class _ContactQuery:
    """Impulses (N s) on the first body of each pair, or on a body from everything, `[n, 3]`."""

    def __init__(self, n: int, whole_bodies: bool) -> None:
        self.impulses = np.zeros((n, 3), dtype=np.float32)
        self.whole_bodies = whole_bodies
        self.cuda_impulses = self

    def torch(self) -> Tensor:
        return torch.from_numpy(self.impulses)


class PhysxCpuBatch:
    """N `PhysxCpuSystem`s with the interface of one `PhysxGpuSystem`."""

    def __init__(self, systems: Sequence[physx.PhysxCpuSystem], configure: Callable[[], None]) -> None:
        self.systems = list(systems)
        self.configure = configure  # sets PhysX's global settings to those of the task
        self._steps = [system.step for system in systems]
        self._active = len(self.systems)
        self.scene: ManiSkillScene = None  # set by the environment once ManiSkill has wrapped the scenes
        self.cuda_rigid_body_data: _BodyBuffer
        self._row: dict[Any, int] = {}
        self._stamp = 0  # changes whenever the simulator's state does
        self._stepped = [False] * len(self.systems)  # contacts are those of the last substep; none after a restore
        self._watched: dict[Any, list[tuple[_ContactQuery, int, float]]] = defaultdict(list)
        self._queries: list[_ContactQuery] = []
        self._watched_stamp = -1

    # ---- simulation ------------------------------------------------------------------------------------------------

    @property
    def timestep(self) -> float:
        """Seconds per substep."""
        return float(self.systems[0].timestep)

    @timestep.setter
    def timestep(self, seconds: float) -> None:
        for system in self.systems:
            system.timestep = seconds

    def step(self) -> None:
        """Advances every scene by one substep."""
        for step in self._steps[: self._active]:
            step()
        self._stepped = [True] * len(self.systems)
        self._invalidate(stepped=True)

    def activate(self, count: int) -> None:
        """From now on only the first `count` scenes are simulated."""
        self._active = count

    def pack(self, index: int) -> bytes:
        """The physical state of scene `index`; controller targets, contacts and step counts are not part of it."""
        state: bytes = self.systems[index].pack()
        return state

    def unpack(self, index: int, state: bytes) -> None:
        """Puts scene `index` into a packed state, in a new PhysX system.

        A used system remembers in which order contacts appeared, and solves them in that order: with a grasped cube the
        same state and the same actions then lead to different futures. In a new system they lead to one. Contacts are
        unknown, hence empty, until the next step.
        """
        self._renew(index)
        self.systems[index].unpack(state)
        self._stepped[index] = False
        self._invalidate()

    def _renew(self, index: int) -> None:
        """Moves the entities of scene `index` into a new system."""
        self.configure()  # a new system takes PhysX's global settings, which another task may have changed
        system = physx.PhysxCpuSystem()
        system.timestep = self.timestep
        entities = self.scene.sub_scenes[index].entities
        for entity in entities:
            entity.remove_from_scene()
        scene = sapien.Scene([system])
        for entity in entities:
            scene.add_entity(entity)
        self.scene.sub_scenes[index] = scene
        self.systems[index], self._steps[index] = system, system.step

    def _invalidate(self, *, stepped: bool = False) -> None:
        self._stamp += 1
        for buffer in self._buffers:
            buffer.invalidate(stepped=stepped)

    # ---- buffers ---------------------------------------------------------------------------------------------------

    def gpu_init(self) -> None:
        """Lays out the buffers once every actor and articulation has been built."""
        actors = [a for a in self.scene.actors.values() if a.px_body_type != "static"]
        articulations = list(self.scene.articulations.values())
        links = [link for art in articulations for link in art.links]
        bodies = [list(struct._bodies) for struct in (*actors, *links)]
        self._bodies = [body for group in bodies for body in group]
        self._kinematic = [_is_kinematic(body) for body in self._bodies]
        self._articulations = [obj for art in articulations for obj in art._objs]
        self._row = {obj: i for objs in (self._bodies, self._articulations) for i, obj in enumerate(objs)}
        self._root_row = {a: self._row[a.root] for a in self._articulations}
        self._set_targets = [[j.set_drive_target for j in a.active_joints] for a in self._articulations]
        self._set_speeds = [[j.set_drive_velocity_target for j in a.active_joints] for a in self._articulations]

        width = max((a.dof for a in self._articulations), default=0)
        groups = [list(art._objs) for art in articulations]
        shape = (len(self._articulations), width)
        self.cuda_rigid_body_data = _BodyBuffer((len(self._bodies), 13), bodies)
        self.cuda_rigid_body_force = _Buffer((len(self._bodies), 4))
        self.cuda_articulation_qpos = _JointBuffer(width, groups, "qpos")
        self.cuda_articulation_qvel = _JointBuffer(width, groups, "qvel")
        self.cuda_articulation_qacc = _JointBuffer(width, groups, "qacc")
        self.cuda_articulation_qf = _Buffer(shape)
        self.cuda_articulation_target_qpos = _Buffer(shape)
        self.cuda_articulation_target_qvel = _Buffer(shape)
        num_links = max((len(a.links) for a in self._articulations), default=0)
        self.cuda_articulation_link_incoming_joint_forces = _Buffer((len(self._articulations), num_links, 6))

    @property
    def _buffers(self) -> list[_GroupBuffer]:
        return [
            self.cuda_rigid_body_data,
            self.cuda_articulation_qpos,
            self.cuda_articulation_qvel,
            self.cuda_articulation_qacc,
        ]

    def body_index(self, bodies: Sequence[Any]) -> Tensor:
        """Rows of `cuda_rigid_body_data` of these bodies."""
        index = torch.tensor([self._row[b] for b in bodies])
        self.cuda_rigid_body_data.register(index)
        return index

    def articulation_index(self, articulations: Sequence[Any]) -> Tensor:
        """Rows of the `cuda_articulation_*` buffers of these articulations."""
        index = torch.tensor([self._row[a] for a in articulations], dtype=torch.int32)
        for buffer in (self.cuda_articulation_qpos, self.cuda_articulation_qvel, self.cuda_articulation_qacc):
            buffer.register(index)
        return index

    def _nothing(self) -> None:
        """Buffers fetch themselves when they are read, so explicit fetches have nothing left to do."""

    gpu_fetch_rigid_dynamic_data = _nothing
    gpu_fetch_articulation_link_pose = _nothing
    gpu_fetch_articulation_link_velocity = _nothing
    gpu_fetch_articulation_qpos = _nothing
    gpu_fetch_articulation_qvel = _nothing
    gpu_fetch_articulation_qacc = _nothing
    gpu_fetch_articulation_target_qpos = _nothing
    gpu_fetch_articulation_target_qvel = _nothing
    gpu_update_articulation_kinematics = _nothing
    sync_poses_gpu_to_cpu = _nothing

    def gpu_fetch_articulation_link_incoming_joint_forces(self) -> None:
        """Reads the wrench (N, N m) through every joint."""
        for row, articulation in enumerate(self._articulations):
            forces = torch.from_numpy(np.asarray(articulation.link_incoming_joint_forces, dtype=np.float32))
            self.cuda_articulation_link_incoming_joint_forces.data[row, : len(forces)] = forces

    def gpu_apply_rigid_dynamic_data(self) -> None:
        """Moves the actors whose rows were written; links follow their articulation's root and joints."""
        buffer = self.cuda_rigid_body_data
        rows = [r for r in buffer.written if isinstance(self._bodies[r], physx.PhysxRigidDynamicComponent)]
        if not rows:
            return
        buffer.written.difference_update(rows)
        for row, values in zip(rows, buffer.data[rows].tolist(), strict=True):
            body = self._bodies[row]
            body.entity.pose = sapien.Pose(values[:3], values[3:7])
            if not self._kinematic[row]:
                body.linear_velocity, body.angular_velocity = values[7:10], values[10:13]

    def gpu_apply_rigid_dynamic_force(self) -> None:
        """Pushes actors at their centres of mass (N) during the next substep."""
        for row in self.cuda_rigid_body_force.take_written():
            body = self._bodies[row]
            force = self.cuda_rigid_body_force.data[row, :3].tolist()
            body.add_force_at_point(force, (body.entity_pose * body.cmass_local_pose).p)

    def gpu_apply_articulation_root_pose(self) -> None:
        """Moves articulations whose root row was written."""
        for articulation, values in self._written_roots():
            articulation.root_pose = sapien.Pose(values[:3], values[3:7])

    def gpu_apply_articulation_root_velocity(self) -> None:
        """Sets root velocities of articulations whose root row was written, and forgets that it was."""
        for articulation, values in self._written_roots():
            articulation.root_linear_velocity, articulation.root_angular_velocity = values[7:10], values[10:13]
        self.cuda_rigid_body_data.written.clear()
        self.cuda_rigid_body_data.invalidate()

    def _written_roots(self) -> Iterator[tuple[Any, list[float]]]:
        for articulation, row in self._root_row.items():
            if row in self.cuda_rigid_body_data.written:
                yield articulation, self.cuda_rigid_body_data.data[row].tolist()

    def gpu_apply_articulation_qpos(self) -> None:
        """Sets the joint positions that were written; the links follow."""
        self._apply_joints(self.cuda_articulation_qpos, "qpos")
        self.cuda_rigid_body_data.invalidate()

    def gpu_apply_articulation_qvel(self) -> None:
        """Sets the joint velocities that were written."""
        self._apply_joints(self.cuda_articulation_qvel, "qvel")
        self.cuda_rigid_body_data.invalidate()

    def gpu_apply_articulation_qf(self) -> None:
        """Sets the joint forces that were written."""
        self._apply_joints(self.cuda_articulation_qf, "qf")

    def _apply_joints(self, buffer: _Buffer, name: str) -> None:
        for row in buffer.take_written():
            articulation = self._articulations[row]
            setattr(articulation, name, buffer.data[row, : articulation.dof].numpy())

    def gpu_apply_articulation_target_position(self) -> None:
        """Sends the drive targets that were written to the joints."""
        self._apply_targets(self.cuda_articulation_target_qpos, self._set_targets)

    def gpu_apply_articulation_target_velocity(self) -> None:
        """Sends the drive velocity targets that were written to the joints."""
        self._apply_targets(self.cuda_articulation_target_qvel, self._set_speeds)

    def _apply_targets(self, buffer: _Buffer, setters: list[list[Any]]) -> None:
        rows = buffer.take_written()
        for row, values in zip(rows, buffer.data[rows].tolist(), strict=True):
            for set_target, value in zip(setters[row], values, strict=False):
                set_target(value)

    # ---- contacts --------------------------------------------------------------------------------------------------

    def gpu_create_contact_pair_impulse_query(self, pairs: Sequence[tuple[Any, Any]]) -> _ContactQuery:
        """A query for the impulse that the second body of each pair exerts on the first."""
        query = self._new_query(len(pairs), whole_bodies=False)
        for row, (a, b) in enumerate(pairs):
            self._watched[a, b].append((query, row, 1.0))
            self._watched[b, a].append((query, row, -1.0))
        return query

    def gpu_create_contact_body_impulse_query(self, bodies: Sequence[Any]) -> _ContactQuery:
        """A query for the net contact impulse on each body."""
        query = self._new_query(len(bodies), whole_bodies=True)
        for row, body in enumerate(bodies):
            self._watched[body].append((query, row, 1.0))
        return query

    def _new_query(self, n: int, *, whole_bodies: bool) -> _ContactQuery:
        query = _ContactQuery(n, whole_bodies)
        self._queries.append(query)
        self._watched_stamp = -1  # what has been walked was walked without it
        return query

    def gpu_query_contact_pair_impulses(self, query: _ContactQuery) -> None:
        """Brings `query` up to date."""
        self._update_contacts()

    gpu_query_contact_body_impulses = gpu_query_contact_pair_impulses

    def _update_contacts(self) -> None:
        """Walks every scene's contacts once and serves all queries from that walk."""
        if self._watched_stamp == self._stamp:
            return
        self._watched_stamp = self._stamp
        for query in self._queries:
            query.impulses[:] = 0.0
        find = self._watched.get
        whole_bodies = any(query.whole_bodies for query in self._queries)
        for system, stepped in zip(self.systems, self._stepped, strict=True):
            if not stepped:
                continue
            for contact in system.get_contacts():
                bodies = a, b = tuple(contact.bodies)
                hits = find(bodies, ())
                if whole_bodies:
                    hits = [*hits, *find(a, ()), *((q, r, -s) for q, r, s in find(b, ()))]
                if hits:
                    impulse = sum(point.impulse for point in contact.points)
                    for query, row, sign in hits:
                        query.impulses[row] += sign * impulse


# ---- installing it in ManiSkill ------------------------------------------------------------------------------------


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
        env._set_scene_config()
        systems = [physx.PhysxCpuSystem() for _ in range(self.num_envs)]
        scenes = [sapien.Scene([system]) for system in systems]
        env.scene = _Scenes(scenes, sim_config=env.sim_config, device=env.device, backend=env.backend)
        env.scene.px = PhysxCpuBatch(systems, env._set_scene_config)
        env.scene.px.scene = env.scene
        env.scene.gpu_sim_enabled = True
        env.scene.px.timestep = 1.0 / env._sim_freq


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
    with patch.object(sapien_env, "parse_sim_and_render_backend", lambda *_: info):
        yield


def batched(cls: type) -> type:
    """The task class `cls` with N CPU scenes; instantiate it under `cpu_batch_backend()`."""
    return type(cls.__name__, (_BatchedScenes, cls), {})
