"""What a robot sees: pictures of a task's first camera that is no camera for people."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import getpid
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlft.envs.drawing import DrawingProcess
from rlft.envs.maniskill.drawing import DRAWN, DrawnScene, render_device
from rlft.envs.maniskill.explaining import explained
from rlft.errors import UserError
from rlft.types import Obs

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill

ObsMode = Literal["state", "rgb"]
Meshes = Literal["visual", "collision"]


class ManiSkillSensor(DrawnScene):
    """Draws states of one task with its first sensor camera, without what ManiSkill hides from robots.

    Args:
        config: the task, with how its pictures are to look.

    Raises:
        NoDevice: if nothing here can draw.
        UserError: if the task has no such camera, or cannot be drawn.
    """

    def __init__(self, config: ManiSkill) -> None:
        super().__init__(config, "sensor_configs", config.image_size, cuda=config.on_gpu())
        cameras = [sensor for sensor in self.env.scene.sensors.values() if hasattr(sensor, "camera")]
        if not cameras:
            raise UserError(f"Task {config.task} has no camera for robots; set obs of the environment to state.")
        self._camera = cameras[0]
        lens = self._camera.camera._render_cameras[0]
        lens.set_fovy(2 * math.atan(math.tan(lens.fovy / 2) / config.zoom), compute_x=True)
        for thing in self.env._hidden_objects:
            thing.hide_visual()
        if config.meshes == "collision":
            light_meshes = importlib.import_module("rlft.envs.maniskill.light_meshes")
            light_meshes.lighten(self.env.scene.sub_scenes[0].entities)

    def picture(self) -> NDArray[np.uint8]:
        """The scene as it is, `[H, W, 3]`."""
        with explained(self.config, DRAWN, headless=False):
            self.env.scene.update_render(update_sensors=True, update_human_render_cameras=False)
            self._camera.capture()
            drawn = self._camera.get_obs(rgb=True, depth=False, position=False, segmentation=False)["rgb"]
        picture: NDArray[np.uint8] = drawn[0].cpu().numpy().astype(np.uint8)
        return picture


@dataclass(frozen=True)
class SensorOf:
    """What the process that draws builds for a task; implements `rlft.envs.drawing.Drawable`."""

    config: ManiSkill

    def drawing_device(self) -> str:
        """See `EnvFactory.drawing_device`."""
        return str(render_device().name)

    def renderer(self, size: int) -> ManiSkillSensor:
        """Its camera, whose size is part of the configuration."""
        return ManiSkillSensor(self.config)


def drawing_of(config: ManiSkill) -> DrawingProcess:
    """What draws for all batches of this process: building the scene and compiling shaders takes most of a minute.

    Raises:
        NoDevice: if nothing here can draw.
    """
    return _drawing(config, getpid())


@lru_cache(maxsize=2)
def _drawing(config: ManiSkill, pid: int) -> DrawingProcess:
    """That of the process `pid`, for a fork must not talk to that of its parent."""
    return DrawingProcess(SensorOf(config), config.image_size)


class Sight:
    """Observations with pictures of scenes that are simulated without; pictures are functions of packed states.

    Args:
        env: the scenes.
        drawing: what draws their states.
        size: of the pictures, in pixels.
    """

    def __init__(self, env: Any, drawing: DrawingProcess, size: int) -> None:
        self.env = env
        self.image = (3, size, size)
        self._drawing = drawing

    def numbers(self, info: Any) -> Tensor:
        """What ManiSkill lets robots know that see, `[N, O]`: its state observation in the mode `rgb`, flattened."""
        parse = importlib.import_module("mani_skill.envs.utils.observations").parse_obs_mode_to_struct
        flatten = importlib.import_module("mani_skill.utils.common").flatten_state_dict
        env = self.env
        before = env._obs_mode, env.obs_mode_struct
        env._obs_mode, env.obs_mode_struct = "rgb", parse("rgb")
        try:
            seen = env._get_obs_state_dict(info)
        finally:
            env._obs_mode, env.obs_mode_struct = before
        numbers: Tensor = flatten(seen, use_torch=True, device=env.device)
        return numbers

    def observe(self, state: Tensor, info: Any, rows: Sequence[int], physics: Tensor) -> Obs:
        """Observations `[N]`.

        Args:
            state: everything, `[N, S]`.
            info: of the step that led here.
            rows: scenes of which there are to be pictures; those of others are black.
            physics: their states, `[M, P]`.
        """
        image = torch.zeros(len(state), *self.image, dtype=torch.uint8)
        if len(physics):
            drawn = torch.from_numpy(self._drawing.pictures(physics))  # [M, H, W, 3]
            image[torch.as_tensor(rows)] = drawn.permute(0, 3, 1, 2)
        return Obs(self.numbers(info).cpu().clone(), image, state.cpu().clone())
