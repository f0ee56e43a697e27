"""Many ordinary PhysX CPU scenes behind the interface of ManiSkill's GPU simulation.

ManiSkill computes observations, rewards and success of N parallel scenes from a handful of buffers of
`sapien.physx.PhysxGpuSystem`. `PhysxCpuBatch` offers the part of that interface which ManiSkill uses, over N
`PhysxCpuSystem` scenes and CPU tensors, so that a task's own, unmodified code runs batched in one process.

Work is done scene by scene: drive targets, all substeps of a control step, then reading what will be asked for, and
only then the next scene. A scene's data stays in the processor's cache meanwhile, which at 256 scenes makes physics
itself up to 1.4 times faster than stepping all scenes once per substep.

Shapes: `N` scenes, `R` rows of a buffer (a row is one body or one articulation of one scene).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.envs.scene import ManiSkillScene
from sapien import physx
from torch import Tensor

from rlft.envs.maniskill.buffers import BodyBuffer, Buffer, FetchedBuffer, JointBuffer, is_kinematic


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
        self._active: Sequence[int] = range(len(self.systems))
        self.scene: ManiSkillScene = None  # set by the environment once ManiSkill has wrapped the scenes
        self.cuda_rigid_body_data: BodyBuffer
        self._fetched: list[FetchedBuffer] = []
        self._row: dict[Any, int] = {}
        self._is_active = [True] * len(self.systems)
        self._stamp = 0  # changes whenever the simulator's state does
        self._pending = 0  # substeps asked for and not yet run
        self._targets: dict[int, list[tuple[Any, list[float]]]] = defaultdict(list)  # of a scene, not yet sent
        self._stepped = [False] * len(self.systems)  # contacts are those of the last substep; none after a restore
        self._watched: dict[Any, list[tuple[_ContactQuery, int, float]]] = defaultdict(list)
        self._queries: list[_ContactQuery] = []
        self._impulses: list[Any] = []  # of contact points that a query watches, in the order of the walk
        self._hits: list[tuple[int, Sequence[tuple[_ContactQuery, int, float]]]] = []  # first impulse, who watches it
        self._watched_stamp = -1
        self._contacts_wanted = False  # contacts were queried since the last substep

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
        """Asks for one substep of every scene; it is run as soon as anything else happens."""
        if not self._pending:
            self._stamp += 1
            for buffer in self._fetched:
                buffer.stepped()
        self._pending += 1

    def flush(self) -> None:
        """Sends pending targets, runs pending substeps and reads what the last control step was asked for."""
        if not self._pending:
            return
        substeps, self._pending = range(self._pending), 0
        readings: list[tuple[FetchedBuffer, int, int, Sequence[Any], Callable[[Any], Any], list[Any]]] = [
            (buffer, group, part, buffer.groups[group][1], buffer.parts[part][1], [])
            for buffer in self._fetched
            for group, part in sorted(buffer.wanted - buffer.fresh)
            if group in buffer.per_scene
        ]
        contacts_wanted, self._contacts_wanted = self._contacts_wanted, False
        if contacts_wanted:
            self._clear_contacts()
        for i in self._active:
            for setters, values in self._targets.pop(i, ()):
                for set_target, value in zip(setters, values, strict=False):
                    set_target(value)
            step = self._steps[i]
            for _ in substeps:
                step()
            self._stepped[i] = True
            for _, _, _, objects, read, values in readings:
                values.append(read(objects[i]))
            if contacts_wanted:
                self._add_contacts(i)
        if contacts_wanted:
            self._sum_contacts()
        for buffer, group, part, _, _, values in readings:
            buffer.store(group, part, values, self._active)
        for buffer in self._fetched:
            buffer.wanted.clear()

    def activate(self, indices: Sequence[int]) -> None:
        """From now on only these scenes are simulated; what the others show is out of date."""
        self.flush()
        self._active = indices
        self._is_active = [False] * len(self.systems)
        for i in indices:
            self._is_active[i] = True

    def pack(self, index: int) -> bytes:
        """The physical state of scene `index`; controller targets, contacts and step counts are not part of it."""
        self.flush()
        state: bytes = self.systems[index].pack()
        return state

    def unpack(self, index: int, state: bytes) -> None:
        """Puts scene `index` into a packed state, in a new PhysX system.

        A used system remembers in which order contacts appeared, and solves them in that order: with a grasped cube the
        same state and the same actions then lead to different futures. In a new system they lead to one. Contacts are
        unknown, hence empty, until the next step. For the same reason all bodies are awake and equally far from falling
        asleep: how long they have been at rest is no part of a packed state.
        """
        self.flush()
        self._targets.pop(index, None)
        self._renew(index)
        self.systems[index].unpack(state)
        for wake_up in self._wake_ups[index]:
            wake_up()
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

    def _invalidate(self) -> None:
        self._stamp += 1
        for buffer in self._fetched:
            buffer.invalidate()

    # ---- buffers ---------------------------------------------------------------------------------------------------

    def gpu_init(self) -> None:
        """Lays out the buffers once every actor and articulation has been built."""
        actors = [a for a in self.scene.actors.values() if a.px_body_type != "static"]
        articulations = list(self.scene.articulations.values())
        links = [link for art in articulations for link in art.links]
        bodies = [list(struct._bodies) for struct in (*actors, *links)]
        self._bodies = [body for group in bodies for body in group]
        self._kinematic = [is_kinematic(body) for body in self._bodies]
        self._articulations = [obj for art in articulations for obj in art._objs]
        self._row = {obj: i for objs in (self._bodies, self._articulations) for i, obj in enumerate(objs)}
        self._root_row = {a: self._row[a.root] for a in self._articulations}
        self._set_targets = [[j.set_drive_target for j in a.active_joints] for a in self._articulations]
        self._wake_ups = [self._wake_ups_of(system) for system in self.systems]
        self._set_speeds = [[j.set_drive_velocity_target for j in a.active_joints] for a in self._articulations]

        width = max((a.dof for a in self._articulations), default=0)
        groups = [list(art._objs) for art in articulations]
        shape = (len(self._articulations), width)
        self.cuda_rigid_body_data = BodyBuffer(bodies, self.flush)
        self.cuda_rigid_body_force = Buffer((len(self._bodies), 4))
        self.cuda_articulation_qpos = JointBuffer(width, groups, "qpos", self.flush)
        self.cuda_articulation_qvel = JointBuffer(width, groups, "qvel", self.flush)
        self.cuda_articulation_qacc = JointBuffer(width, groups, "qacc", self.flush)
        self.cuda_articulation_qf = Buffer(shape)
        self.cuda_articulation_target_qpos = Buffer(shape)
        self.cuda_articulation_target_qvel = Buffer(shape)
        num_links = max((len(a.links) for a in self._articulations), default=0)
        self.cuda_articulation_link_incoming_joint_forces = Buffer((len(self._articulations), num_links, 6))

        joint_buffers = [self.cuda_articulation_qpos, self.cuda_articulation_qvel, self.cuda_articulation_qacc]
        self._fetched = [self.cuda_rigid_body_data, *joint_buffers]
        self.cuda_rigid_body_data.per_scene = self._one_per_scene([*actors, *links])
        for buffer in joint_buffers:
            buffer.per_scene = self._one_per_scene(articulations)
        self._scene_of = [scene for art in articulations for scene in art._scene_idxs.tolist()]  # by articulation row

    @staticmethod
    def _wake_ups_of(system: Any) -> list[Callable[[], None]]:
        """What wakes everything in a scene; a root wakes its articulation."""
        free = [body for body in system.rigid_dynamic_components if not body.kinematic]
        roots = [link for link in system.articulation_link_components if link.is_root]
        return [body.wake_up for body in (*free, *roots)]

    def _one_per_scene(self, structs: Sequence[Any]) -> set[int]:
        """Which of these have one object in every scene, in the scenes' order."""
        return {g for g, s in enumerate(structs) if s._scene_idxs.tolist() == list(range(len(self.systems)))}

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

    # Buffers fetch themselves when they are read; what is left of an explicit fetch is that pending substeps are run.
    gpu_fetch_rigid_dynamic_data = flush
    gpu_fetch_articulation_link_pose = flush
    gpu_fetch_articulation_link_velocity = flush
    gpu_fetch_articulation_qpos = flush
    gpu_fetch_articulation_qvel = flush
    gpu_fetch_articulation_qacc = flush
    gpu_fetch_articulation_target_qpos = flush
    gpu_fetch_articulation_target_qvel = flush
    gpu_update_articulation_kinematics = flush
    sync_poses_gpu_to_cpu = flush

    def gpu_fetch_articulation_link_incoming_joint_forces(self) -> None:
        """Reads the wrench (N, N m) through every joint."""
        self.flush()
        for row, articulation in enumerate(self._articulations):
            forces = torch.from_numpy(np.asarray(articulation.link_incoming_joint_forces, dtype=np.float32))
            self.cuda_articulation_link_incoming_joint_forces.data[row, : len(forces)] = forces

    def gpu_apply_rigid_dynamic_data(self) -> None:
        """Moves the actors whose rows were written; links follow their articulation's root and joints."""
        buffer = self.cuda_rigid_body_data
        rows = [r for r in buffer.written if isinstance(self._bodies[r], physx.PhysxRigidDynamicComponent)]
        if not rows:
            return
        self.flush()
        buffer.written.difference_update(rows)
        for row, values in zip(rows, buffer.data[rows].tolist(), strict=True):
            body = self._bodies[row]
            body.entity.pose = sapien.Pose(values[:3], values[3:7])
            if not self._kinematic[row]:
                body.linear_velocity, body.angular_velocity = values[7:10], values[10:13]

    def gpu_apply_rigid_dynamic_force(self) -> None:
        """Pushes actors at their centres of mass (N) during the next substep."""
        self.flush()
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
        self.flush()
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

    def _apply_joints(self, buffer: Buffer, name: str) -> None:
        self.flush()
        for row in buffer.take_written():
            articulation = self._articulations[row]
            setattr(articulation, name, buffer.data[row, : articulation.dof].numpy())

    def gpu_apply_articulation_target_position(self) -> None:
        """Sends the drive targets that were written to the joints."""
        self._apply_targets(self.cuda_articulation_target_qpos, self._set_targets)

    def gpu_apply_articulation_target_velocity(self) -> None:
        """Sends the drive velocity targets that were written to the joints."""
        self._apply_targets(self.cuda_articulation_target_qvel, self._set_speeds)

    def _apply_targets(self, buffer: Buffer, setters: list[list[Any]]) -> None:
        self.flush()
        rows = buffer.take_written()
        for row, values in zip(rows, buffer.data[rows].tolist(), strict=True):
            if self._is_active[self._scene_of[row]]:
                self._targets[self._scene_of[row]].append((setters[row], values))

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
        """Brings all queries up to date at once, if the state has changed since the last time."""
        self.flush()
        self._contacts_wanted = True
        if self._watched_stamp != self._stamp:
            self._clear_contacts()
            for i, stepped in enumerate(self._stepped):
                if stepped:
                    self._add_contacts(i)
            self._sum_contacts()

    def _clear_contacts(self) -> None:
        self._watched_stamp = self._stamp
        self._impulses, self._hits = [], []
        self._whole_bodies = any(query.whole_bodies for query in self._queries)
        for query in self._queries:
            query.impulses[:] = 0.0

    def _add_contacts(self, index: int) -> None:
        """Walks the contacts of one scene once and notes what any query asks for; `_sum_contacts` adds it up."""
        find = self._watched.get
        for contact in self.systems[index].get_contacts():
            bodies = a, b = tuple(contact.bodies)
            hits = find(bodies, ())
            if self._whole_bodies:
                hits = [*hits, *find(a, ()), *((q, r, -s) for q, r, s in find(b, ()))]
            if hits and (points := contact.points):
                self._hits.append((len(self._impulses), hits))
                self._impulses += [point.impulse for point in points]

    def _sum_contacts(self) -> None:
        """Impulses of points to contacts, in the order of the walk, and of contacts to queries."""
        if not self._hits:
            return
        points = np.frombuffer(b"".join(self._impulses), dtype=np.float32).reshape(-1, 3)
        impulses = np.add.reduceat(points, [first for first, _ in self._hits])  # [contacts, 3]
        rows: dict[_ContactQuery, list[tuple[int, int, float]]] = defaultdict(list)
        for contact, (_, hits) in enumerate(self._hits):
            for query, row, sign in hits:
                rows[query].append((row, contact, sign))
        for query, entries in rows.items():
            watched, contacts, signs = zip(*entries, strict=True)
            signed = np.array(signs, dtype=np.float32)[:, None] * impulses[list(contacts)]
            np.add.at(query.impulses, list(watched), signed)
