"""Pictures of states: one ordinary scene of the task, drawn and never simulated.

Every state of an episode is restored in it, so a picture cannot drift away from the episode that it shows.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlft.envs.maniskill.assets import no_questions
from rlft.envs.maniskill.building import constructor_arguments, registered
from rlft.envs.maniskill.explaining import explained
from rlft.errors import UserError
from rlft.types import EnvStates

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill

MARGIN = 0.15  # metres around what happens that are to be seen: a hand, and what it holds
NO_DEVICE = (
    "Nothing can draw here, for there is no Vulkan device: Debian's `apt-get install chromium` brings SwiftShader, "
    "which draws on any CPU, and rlft finds it by itself."
)
DRAWN = "be drawn"
SHADER = "default"  # which a CPU draws faster than the one that is called minimal
ROUNDING = 1e-5  # restoring a state rounds some poses once more


class NoDevice(UserError):
    """Nothing on this machine can draw."""


def render_device() -> Any:
    """What SAPIEN draws with.

    Raises:
        NoDevice: if there is nothing.
    """
    sapien = importlib.import_module("sapien.render")
    try:
        return sapien.RenderSystem().device
    except RuntimeError as error:
        raise NoDevice(NO_DEVICE) from error


class DrawnScene:
    """One scene of a task that can be put into states of other ones, and drawn.

    Args:
        config: the task.
        cameras: the argument of the constructor of tasks that sets those which draw.
        size: width and height of the pictures, in pixels.
        cuda: whether states are those of a simulation on a GPU.

    Raises:
        NoDevice: if nothing here can draw.
        UserError: if the task cannot be drawn.
    """

    def __init__(self, config: ManiSkill, cameras: str, size: int, *, cuda: bool) -> None:
        self.config = config
        self._cuda = cuda
        device = render_device()
        self.device = str(device.name)
        with explained(config, DRAWN, headless=False), no_questions(config.task):
            looks = {"width": size, "height": size, "shader_pack": SHADER}
            self.env = _build(config, {cameras: looks}, device)

    def pictures(self, physics: Tensor) -> NDArray[np.uint8]:
        """Pictures `[M, H, W, 3]` of states `physics [M, P]`.

        Raises:
            UserError: if the scene does not hold a state after it has been put into it.
        """
        drawn = []
        for state in physics:
            self._restore(state)
            drawn.append(self.picture())
        return np.stack(drawn)

    def picture(self) -> NDArray[np.uint8]:
        """The scene as it is, `[H, W, 3]`."""
        raise NotImplementedError

    def _restore(self, physics: Tensor) -> None:
        """Puts the scene into the state `physics [P]`."""
        wanted, width = physics.contiguous().view(torch.float32), len(self._state())
        if len(wanted) != width:
            raise UserError(
                f"A state of {self.config.task} has {len(wanted)} numbers, and the scene that is drawn {width}: they "
                "are of different versions of the task."
            )
        if self._cuda:
            self.env.set_state(wanted[None])
        else:
            self.env.scene.px.unpack(physics.numpy().tobytes())
        if not torch.allclose(self._state(), wanted, atol=ROUNDING, rtol=ROUNDING, equal_nan=True):
            raise UserError(f"The scene of {self.config.task} that is drawn does not hold the state of the episode.")

    def _state(self) -> Tensor:
        """What a state holds of the physics, as numbers."""
        if self._cuda:
            vector: Tensor = self.env.get_state()[0].cpu()
            return vector
        return torch.frombuffer(bytearray(self.env.scene.px.pack()), dtype=torch.float32)


class ManiSkillRenderer(DrawnScene):
    """Draws states of one task with its first camera for people; implements `rlft.types.Renderer`.

    Args:
        config: the task.
        size: width and height of the pictures, in pixels.
        cuda: whether states are those of a simulation on a GPU.

    Raises:
        NoDevice: if nothing here can draw.
        UserError: if the task cannot be drawn.
    """

    def __init__(self, config: ManiSkill, size: int, *, cuda: bool = False) -> None:
        super().__init__(config, "human_render_camera_configs", size, cuda=cuda)
        cameras = self.env._human_render_cameras
        if not cameras:
            raise UserError(f"Task {config.task} has no camera for people, so there is nothing to record it with.")
        self._camera = next(iter(cameras))
        self._lens = cameras[self._camera].camera._render_cameras[0]
        self._own_view = (self._lens.local_pose, self._lens.fovy)  # radians
        self._can_turn = cameras[self._camera].entity is None and _tool(self.env.agent) is not None
        self._things = [actor for actor in self.env.scene.actors.values() if _takes_part(actor)]

    def aim(self, states: EnvStates) -> None:
        """Turns and zooms the camera to tool and objects in `states [M]`; where they need more, it keeps its view.

        So it does for robots without a tool: the positions of links do not say how far they reach.
        """
        if not self._can_turn:
            return
        seen = []
        for physics in states.physics:
            self._restore(physics)
            seen.append(self._positions())
        low, high = (f(torch.cat(seen).double(), dim=0).values.numpy() for f in (torch.min, torch.max))  # [3]
        pose, fov = self._own_view
        middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2 + MARGIN
        needed = 2 * math.atan(radius / float(np.linalg.norm(middle - pose.p)))
        if needed < fov:
            look_at = importlib.import_module("mani_skill.utils.sapien_utils").look_at
            pose, fov = look_at(pose.p, middle).sp, needed
        self._lens.local_pose = pose
        self._lens.set_fovy(fov, compute_x=True)

    def frames(self, states: EnvStates) -> NDArray[np.uint8]:
        """Pictures `[M, H, W, 3]` of `states [M]`.

        Raises:
            UserError: if the scene does not hold a state after it has been put into it.
        """
        return self.pictures(states.physics)

    def picture(self) -> NDArray[np.uint8]:
        """The scene as it is, `[H, W, 3]`."""
        with explained(self.config, DRAWN, headless=False):
            drawn: NDArray[np.uint8] = self.env.render_rgb_array(self._camera)[0].cpu().numpy().astype(np.uint8)
        return drawn

    def _positions(self) -> Tensor:
        """Of the tool and of all things, `[n, 3]` in metres."""
        return torch.cat([_tool(self.env.agent).p, *(thing.pose.p for thing in self._things)])


def _build(config: ManiSkill, cameras: Mapping[str, Any], device: Any) -> Any:
    """An ordinary environment on the CPU, drawn by `device`.

    ManiSkill finds no device by itself where there is no GPU: it asks SAPIEN for one of a name that SAPIEN refuses.
    """
    spec = registered(config.task, config.imports)
    sapien_env = importlib.import_module("mani_skill.envs.sapien_env")
    sapien = importlib.import_module("sapien")
    info = importlib.import_module("mani_skill.envs.utils.system.backend").BackendInfo(
        device=torch.device("cpu"),
        sim_device=sapien.Device("cpu"),
        sim_backend="physx_cpu",
        render_device=device,
        render_backend="sapien_cpu",
    )
    with patch.object(sapien_env, "parse_sim_and_render_backend", lambda *_: info):
        arguments = constructor_arguments(config, spec, num_envs=1)
        return spec.cls(**arguments, render_mode="rgb_array", **cameras)


def _takes_part(actor: Any) -> bool:
    """Whether it can move, or marks a place, as goals do: kinematic furniture has collision shapes."""
    kind = actor.px_body_type
    return kind == "dynamic" or (kind == "kinematic" and not any(body.collision_shapes for body in actor._bodies))


def _tool(agent: Any) -> Any:
    """Pose of the tool, which may be between two links; `None` for a robot without one."""
    if hasattr(agent, "tcp_pose"):
        return agent.tcp_pose
    return getattr(getattr(agent, "tcp", None), "pose", None)
