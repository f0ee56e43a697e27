"""The configuration of a ManiSkill task."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rlft.envs.maniskill.batch import ManiSkillBatch
from rlft.envs.maniskill.building import registered
from rlft.envs.maniskill.drawing import ManiSkillRenderer, render_device
from rlft.envs.maniskill.explaining import explained
from rlft.envs.maniskill.imports import look_for, source_digest
from rlft.envs.maniskill.physics import geometry
from rlft.envs.maniskill.restoring import flaw_of_restores
from rlft.envs.maniskill.rewards import RewardMode
from rlft.envs.maniskill.sensor import Meshes, ObsMode
from rlft.errors import UserError, require
from rlft.types import BatchEnv, EnvFactory, EnvSpec, ModuleName, Primitive, Renderer, settings_of

SCENES = 800  # of CPU simulation in a process that also draws initial states; see `cpu_backend.MAX_SCENES`
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class EnvSettings:
    """In what the environment of a policy is to differ from what its file says; `null` leaves it at that.

    Args:
        robot: the robot's name.
        reward_mode: what returns are made of: `sparse`, `dense` or `normalized_dense`.
        max_episode_steps: env steps until an episode is truncated.
        task_options: arguments of the task's constructor, in place of all that the file says.
        imports: modules that register the task or the robot, where they lie here.
        device: where to simulate: `cpu`, `cuda`, or `auto` for CUDA where there is one.
    """

    robot: str | None = None
    reward_mode: RewardMode | None = None
    max_episode_steps: int | None = None
    task_options: dict[str, Any] | None = None
    imports: tuple[str, ...] | None = None
    device: Device | None = None


AS_RECORDED = EnvSettings()


@dataclass(frozen=True)
class ManiSkill(EnvFactory):
    """A ManiSkill task, observed as a state or from pictures.

    Runs on ManiSkill's own `physx_cuda` where there is a CUDA device, else on rlft's batched CPU scenes.

    Args:
        task: the task's registered name.
        control_mode: how actions drive the robot; `null` takes the task's default.
        reward_mode: `sparse` is 1 on success (and -1 on a task's failure flag).
        robot: the robot's name; `null` takes the task's default.
        device: where to simulate: `cpu`, `cuda`, or `auto` for CUDA where there is one.
        max_episode_steps: env steps until an episode is truncated; `null` takes the task's limit.
        task_options: further arguments of the task's constructor, by name, such as `{robot_init_qpos_noise: 0.05}`.
        imports: modules of your own that register tasks or robots, such as `[my_tasks]` or `[path/my_tasks.py]`.
        obs: `state` is everything the task tells; `rgb` a picture of its first camera for robots, and what ManiSkill
            tells robots that see, such as joints, tool and goal, but no object. Drawing takes a Vulkan device.
        image_size: height and width of pictures, in pixels.
        zoom: how much larger things are in pictures than the task's own camera has them.
        meshes: how pictures show what has a mesh: `visual` as ManiSkill does, `collision` as the shapes that it
            collides with, in one colour, which a CPU draws several times as fast.
    """

    task: str = "PickCube-v1"
    control_mode: str | None = "pd_joint_delta_pos"
    reward_mode: RewardMode = "sparse"
    robot: str | None = None
    device: Device = "auto"
    max_episode_steps: int | None = None
    task_options: dict[str, Any] = field(default_factory=dict, hash=False)
    imports: tuple[ModuleName, ...] = field(default=(), repr=False)  # what counts of them is in `data_settings`
    obs: ObsMode = "state"
    image_size: int = 64
    zoom: float = 1.0
    meshes: Meshes = "visual"

    def __post_init__(self) -> None:
        limit = self.max_episode_steps
        require(limit is None or limit >= 1, "data.env.max_episode_steps", limit, "at least 1, or null for the task's")
        for name, allowed in (("obs", get_args(ObsMode)), ("meshes", get_args(Meshes))):
            value = getattr(self, name)
            require(value in allowed, f"data.env.{name}", value, f"one of {', '.join(allowed)}")
        require(8 <= self.image_size <= 1024, "data.env.image_size", self.image_size, "from 8 to 1024")
        require(0 < self.zoom < math.inf, "data.env.zoom", self.zoom, "above 0 and finite")
        names = self.imports
        require(isinstance(names, tuple) and all(isinstance(name, str) for name in names), "imports", names, "names")
        look_for(names)

    @classmethod
    def of_policy(
        cls,
        info: Mapping[str, Any],
        task: str | None = None,
        control_mode: str | None = None,
        settings: EnvSettings = AS_RECORDED,
    ) -> ManiSkill:
        """With these settings, or else those that a policy's file names in its `info`, or else the defaults.

        What the file says of rewards, time limit and options holds for its own task alone.
        """
        named = {name: info[name] for name in RECORDED if info.get(name) is not None}
        if task not in (None, info.get("task")):
            named = {name: value for name, value in named.items() if name in KEPT}
        chosen = {"task": task, "control_mode": control_mode, **vars(settings)}
        given = {**named, **{name: value for name, value in chosen.items() if value is not None}}
        if isinstance(given.get("imports"), list):  # as json has it
            given["imports"] = tuple(given["imports"])
        return cls(**given)

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` scenes of the task; see `EnvFactory.make`.

        Raises:
            NoDevice: as `ManiSkillBatch`.
            UserError: as `ManiSkillBatch`, and if states of the task cannot be restored, as rollouts do.
        """
        batch = ManiSkillBatch(self, num_envs, cuda=self.on_gpu())
        if not self.on_gpu() and len({geometry(system) for system in batch.env.scene.px.systems}) > 1:
            raise UserError(
                f"Task {self.task} builds different objects in every scene, so its states cannot be moved between "
                "scenes, as rollouts do; choose a task whose scenes are alike."
            )
        if flaw := flaw_of_restores(self.without_pictures()):
            raise UserError(flaw)
        return batch

    def without_pictures(self) -> ManiSkill:
        """The same scenes, observed as states."""
        return replace(self, **{name: getattr(ManiSkill, name) for name in PICTURES})

    def drawing_device(self) -> str:
        """What SAPIEN draws with in this process.

        Raises:
            NoDevice: if nothing can.
        """
        return str(render_device().name)

    def renderer(self, size: int) -> Renderer:
        """What draws states of these scenes in pictures of `size` pixels; see `ManiSkillRenderer`.

        Raises:
            NoDevice: if nothing in this process can draw.
            UserError: if the task cannot be drawn.
        """
        return ManiSkillRenderer(self, size, cuda=self.on_gpu())

    def starts(self) -> str:
        """See `EnvFactory.starts`: a device draws random numbers of its own."""
        options = f", options {self._options}" if self.task_options else ""
        sources = f", imports {self._sources}" if self.imports else ""
        return f"{self.task}, robot {self.robot}, {'cuda' if self.on_gpu() else 'cpu'}{options}{sources}"

    def scenes_per_process(self) -> int | None:
        """See `EnvFactory.scenes_per_process`: the GPU simulates any number in one system."""
        return None if self.on_gpu() else SCENES

    def on_gpu(self) -> bool:
        """See `EnvFactory.on_gpu`."""
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())

    def describe(self, spec: EnvSpec) -> dict[str, Any]:
        """See `EnvFactory.describe`: as a json file gives it back."""
        options = json.loads(json.dumps(self.task_options, default=repr))
        imports = {"imports": list(self.imports)} if self.imports else {}
        return {
            **super().describe(spec),
            "reward_mode": self.reward_mode,
            "task_options": options,
            **imports,
            **self._pictures,
        }

    def data_settings(self) -> Mapping[str, Primitive]:
        """See `EnvFactory.data_settings`: where it is simulated does not count, and of imports what is in them."""
        imports = {"imports": self._sources} if self.imports else {}
        settings = settings_of(self, without={"device", "task_options", "imports", *PICTURES})
        return {**settings, "task_options": self._options, **imports, **self._pictures}

    def reward_settings(self, spec: EnvSpec) -> Mapping[str, Primitive]:
        """See `EnvFactory.reward_settings`: what the task states, else all options and sources."""
        settings = self.data_settings()
        stated = {"reward_definition": spec.reward_definition} if spec.reward_definition else {}
        names = ("task", "reward_mode") if stated else ("task", "reward_mode", "task_options", "imports")
        return {**{name: settings[name] for name in names if name in settings}, **stated}

    def rewards_again(self, spec: EnvSpec, before: Mapping[str, Primitive], inputs: Mapping[str, Tensor]) -> Tensor:
        """See `EnvFactory.rewards_again`: by the task's function `reward_again`, if it has one."""
        function = getattr(registered(self.task, self.imports).cls, "reward_again", None)
        stated = before.get("reward_definition")
        if function is None or not isinstance(stated, str) or before["task"] != self.task:
            raise NotImplementedError
        with explained(self, "compute stored rewards again"):
            again: Tensor = function(
                self.reward_mode, json.loads(spec.reward_definition), json.loads(stated), dict(inputs)
            )
        return again

    @property
    def _pictures(self) -> dict[str, Primitive]:
        """The settings of pictures; nothing where there are none."""
        return {name: getattr(self, name) for name in PICTURES} if self.obs == "rgb" else {}

    @property
    def _options(self) -> str:
        return json.dumps(self.task_options, sort_keys=True, default=repr)

    @property
    def _sources(self) -> str:
        return " ".join(map(source_digest, self.imports))


PICTURES = ("obs", "image_size", "zoom", "meshes")  # fields that say what is observed
KEPT = ("control_mode", "robot", "imports", *PICTURES)  # of what a policy's file says, in another task
# In policy files.
RECORDED = ("task", "control_mode", "robot", "reward_mode", "max_episode_steps", "task_options", "imports", *PICTURES)
