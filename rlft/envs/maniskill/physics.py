"""Physical states of scenes as bytes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class CpuPhysics:
    """Physical states as the bytes of `PhysxCpuSystem.pack`: exact, and restoring drops contact caches."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def save(self, rows: Sequence[int]) -> Tensor:
        """The bytes `[M, P]` of scenes `rows`."""
        states = [np.frombuffer(self.env.scene.px.pack(row), dtype=np.uint8) for row in rows]
        return torch.from_numpy(np.stack(states)) if states else torch.zeros(0, 0, dtype=torch.uint8)

    def restore(self, rows: Sequence[int], physics: Tensor) -> None:
        """Puts scene `rows[i]` into `physics[i]`."""
        for row, state in zip(rows, physics.numpy(), strict=True):
            self.env.scene.px.unpack(row, state.tobytes())

    def activate(self, rows: Sequence[int]) -> int:
        """Simulates only scenes `rows` from now on."""
        self.env.scene.px.activate(rows)
        return len(rows)


class CudaPhysics:
    """Physical states through ManiSkill's own state vector: poses and velocities, for GPU simulation."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def save(self, rows: Sequence[int]) -> Tensor:
        """The bytes `[M, P]` of scenes `rows`."""
        state = self.env.get_state()[torch.as_tensor(rows, device=self.env.device)]  # [M, D] float32
        packed: Tensor = state.contiguous().cpu().view(torch.uint8)
        return packed

    def restore(self, rows: Sequence[int], physics: Tensor) -> None:
        """Puts scene `rows[i]` into `physics[i]`."""
        index, order = torch.as_tensor(rows, device=self.env.device).sort()  # ManiSkill writes rows in ascending order
        self.env.set_state(physics[order.cpu()].contiguous().view(torch.float32).to(self.env.device), index)
        self.env.scene._gpu_apply_all()
        self.env.scene.px.gpu_update_articulation_kinematics()
        self.env.scene._gpu_fetch_all()

    def activate(self, rows: Sequence[int]) -> int:
        """The GPU steps all scenes at once."""
        return int(self.env.num_envs)


def geometry(system: Any) -> tuple[Any, ...]:
    """What distinguishes one scene's bodies from another's: masses, collision shapes and where they sit."""
    bodies = [*system.rigid_dynamic_components, *system.rigid_static_components, *system.articulation_link_components]
    measures = ("half_size", "radius", "half_length", "scale")
    return tuple(
        (
            getattr(body, "mass", None),
            *(
                (
                    type(shape).__name__,
                    tuple(shape.local_pose.__getstate__()),
                    *(np.asarray(getattr(shape, m)).tobytes() for m in measures if hasattr(shape, m)),
                    len(shape.vertices) if hasattr(shape, "vertices") else 0,
                )
                for shape in body.collision_shapes
            ),
        )
        for body in bodies
    )
