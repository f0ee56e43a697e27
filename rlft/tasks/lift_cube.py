"""LiftCube-v1: a gripper lifts a cube off a table and holds it up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import sapien
import torch
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils import sapien_utils
from mani_skill.utils.building import actors
from mani_skill.utils.geometry.rotation_conversions import matrix_to_euler_angles
from mani_skill.utils.registration import register_env
from mani_skill.utils.scene_builder.table import TableSceneBuilder
from mani_skill.utils.structs.pose import Pose
from torch import Tensor

from rlft.errors import UserError, require
from rlft.tasks import lift_stages
from rlft.tasks.lift_behaviour import MEASURES, Kinds, failures
from rlft.tasks.lift_rewards import INPUTS, REWARDS, VERSIONS, LiftState, RewardVersion, maximum, state_of, total
from rlft.tasks.lift_stages import NEAR
from rlft.tasks.robots import MODE, SO100XYZ, PandaXYZ
from rlft.types import REWARD_INPUT, REWARD_TERM

Start = Literal["table", "near"]
TOUCH = 1e-3  # N
CLOSED = 1.25  # widths of the cube: an opening below that is closed for the reward of the moving finger
CUBE = {"panda_xyz": 0.010, "so100_xyz": 0.0125}  # half sizes, metres
CENTRE = {"panda_xyz": (0.0, 0.0), "so100_xyz": (-0.46, 0.0)}  # of where cubes lie
VIEWS = {  # camera of images and camera of videos, each from where and at what
    "panda_xyz": (([0.3, 0, 0.6], [-0.1, 0, 0.1]), ([0.6, 0.7, 0.6], [0.0, 0.0, 0.35])),
    "so100_xyz": (([-0.27, 0, 0.4], [-0.56, 0, -0.25]), ([-0.1, 0.3, 0.4], [-0.46, 0.0, 0.1])),
}


@register_env("LiftCube-v1", max_episode_steps=100)
class LiftCube(BaseEnv):  # type: ignore[misc]  # ManiSkill has no types
    """Success is to hold the cube above a height for some steps in a row.

    Args:
        robot_uids: `panda_xyz` or `so100_xyz`.
        reward_version: of the dense reward, see `rlft.tasks.lift_rewards`.
        cube_half_size: metres; by default 0.010 for the Panda and 0.0125 for the SO-100, which drops smaller ones.
        lift_height: metres above the table that the cube's centre is to be lifted to.
        hold_steps: env steps in a row that it is to be held there.
        spawn_half_size: metres; cubes lie in a square of twice that side.
        start: with the gripper where it rests (`table`), or open above the cube (`near`).
        robot_init_qpos_noise: radians, standard deviation of the first positions of the arm's joints; none of `near`.
    """

    SUPPORTED_ROBOTS = ("panda_xyz", "so100_xyz")
    SUPPORTED_REWARD_MODES = ("sparse", "dense", "normalized_dense", "none")
    agent: PandaXYZ | SO100XYZ
    behaviour = MEASURES

    def __init__(
        self,
        *args: Any,
        robot_uids: str = "panda_xyz",
        reward_version: RewardVersion = "v11",
        cube_half_size: float | None = None,
        lift_height: float = 0.08,
        hold_steps: int = 10,
        spawn_half_size: float = 0.05,
        start: Start = "table",
        robot_init_qpos_noise: float = 0.02,
        **kwargs: Any,
    ) -> None:
        if robot_uids not in self.SUPPORTED_ROBOTS:
            raise UserError(f"LiftCube-v1 has no robot {robot_uids}; choose {' or '.join(self.SUPPORTED_ROBOTS)}.")
        half = CUBE[robot_uids] if cube_half_size is None else cube_half_size
        for name, value, right, allowed in (
            ("reward_version", reward_version, reward_version in VERSIONS, f"one of {', '.join(VERSIONS)}"),
            ("start", start, start in get_args(Start), f"one of {', '.join(get_args(Start))}"),
            ("cube_half_size", half, 0 < half <= 0.04, "above 0 and at most 0.04"),
            ("lift_height", lift_height, lift_height >= half + 0.04, "at least 0.04 above the cube's half size"),
            ("hold_steps", hold_steps, hold_steps >= 1, "at least 1"),
            ("spawn_half_size", spawn_half_size, 0 <= spawn_half_size <= 0.2, "from 0 to 0.2"),
            ("robot_init_qpos_noise", robot_init_qpos_noise, robot_init_qpos_noise >= 0, "at least 0"),
        ):
            require(right, f"task_options.{name}", value, allowed)
        self.reward_version, self.start = reward_version, start
        self.cube_half_size, self.goal = half, lift_height - half  # of rewards and success: above rest
        self.hold_steps, self.spawn_half_size = hold_steps, spawn_half_size
        self.robot_init_qpos_noise = robot_init_qpos_noise
        super().__init__(*args, robot_uids=robot_uids, **kwargs)

    @property
    def failures(self) -> Kinds:
        """What a failed episode is called: the first of these whose ranges all hold."""
        return failures(CLOSED * 2 * self.cube_half_size)

    @property
    def reward_definition(self) -> dict[str, Any]:
        """What the reward depends on: of a sparse one only what success is."""
        success = {"goal": self.goal, "hold_steps": self.hold_steps}
        return success if self.reward_mode == "sparse" else {**success, "version": self.reward_version}

    # ---- the scene ---------------------------------------------------------------------------------------------------

    @property
    def _default_sensor_configs(self) -> list[Any]:
        pose = sapien_utils.look_at(*VIEWS[self.robot_uids][0])
        return [CameraConfig("base_camera", pose, 128, 128, np.pi / 2, 0.01, 100)]

    @property
    def _default_human_render_camera_configs(self) -> Any:
        return CameraConfig("render_camera", sapien_utils.look_at(*VIEWS[self.robot_uids][1]), 512, 512, 1, 0.01, 100)

    def _load_agent(self, options: dict[str, Any]) -> None:
        robot = PandaXYZ if self.robot_uids == "panda_xyz" else SO100XYZ
        super()._load_agent(options, robot.base)
        if self.start == "near" and self.control_mode != MODE:
            raise UserError(f"task_options.start near needs control_mode {MODE}, whose kinematics find it.")

    def _load_scene(self, _options: dict[str, Any]) -> None:
        self.table_scene = TableSceneBuilder(self)
        self.table_scene.build()
        rest = sapien.Pose([*CENTRE[self.robot_uids], self.cube_half_size])
        self.cube = actors.build_cube(self.scene, self.cube_half_size, [1, 0, 0, 1], name="cube", initial_pose=rest)

    def _initialize_episode(self, env_idx: Tensor, _options: dict[str, Any]) -> None:
        self.table_scene.initialize(env_idx)  # does not know these robots
        place = self.spawn_half_size * (2 * torch.rand(len(env_idx), 3, device=self.device) - 1)
        place[:, :2] += torch.tensor(CENTRE[self.robot_uids], device=self.device)
        place[:, 2] = self.cube_half_size
        self.cube.set_pose(Pose.create_from_pq(place))
        self.agent.reset(self._first_joints(place))
        self.agent.robot.set_pose(self.agent.base)
        self._forget(env_idx)

    def _first_joints(self, cube: Tensor) -> Tensor:
        """Where the joints `[M, D]` begin; `cube [M, 3]`."""
        ready, count = torch.as_tensor(self.agent.ready, dtype=torch.float32, device=self.device), self.agent.noisy
        q = ready.repeat(len(cube), 1)
        if self.start == "near":
            arm = self.agent.controller.controllers["arm"]
            above = cube + torch.tensor([0, 0, NEAR], device=self.device)
            q[:, :count] = arm.reaching(q[:, : count + 1], above)
        else:
            noise = self._episode_rng.normal(0, self.robot_init_qpos_noise, (len(cube), count))
            q[:, :count] += torch.as_tensor(noise, dtype=torch.float32, device=self.device)
        return q

    # ---- what is remembered: tensors with one row per scene, so that a restored state has them -----------------------

    def _forget(self, env_idx: Tensor) -> None:
        if not hasattr(self, "_held"):
            count, none = self._elapsed_steps, torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
            actions = torch.zeros(self.num_envs, *self.agent.single_action_space.shape, device=self.device)
            self._held, self._counted_at, self._acted_at = (torch.zeros_like(count) for _ in range(3))
            self._grasped, self._dropped = none, none.clone()
            self._action, self._previous_action = actions, actions.clone()
        remembered = (self._held, self._counted_at, self._acted_at, self._grasped, self._dropped)
        for rows in (*remembered, self._action, self._previous_action):
            rows[env_idx] = 0

    def _count(self, grasped: Tensor, raised: Tensor) -> None:
        """Notes a step once, however often it is evaluated; also a reset evaluates all scenes."""
        new = self._elapsed_steps > self._counted_at
        lifted = grasped & (raised > self.goal)
        held = torch.where(lifted, (self._held + 1).clamp(max=self.hold_steps), 0)
        self._dropped = torch.where(new, self._grasped & ~grasped, self._dropped)
        self._held, self._grasped = torch.where(new, held, self._held), torch.where(new, grasped, self._grasped)
        self._counted_at = torch.where(new, self._elapsed_steps, self._counted_at)

    def _action_change(self, action: Tensor) -> Tensor:
        """Squared norm `[N]` of the difference to the last step's action."""
        new = self._elapsed_steps > self._acted_at
        self._previous_action = torch.where(new[:, None], self._action, self._previous_action)
        self._action = torch.where(new[:, None], action, self._action)
        self._acted_at = torch.where(new, self._elapsed_steps, self._acted_at)
        return (self._action - self._previous_action).square().sum(1)

    # ---- stages that training episodes may begin in ------------------------------------------------------------------

    @property
    def start_stages(self) -> tuple[str, ...]:
        """Their names; the script that leads into them moves the gripper along the axes of the world."""
        return lift_stages.STAGES if self.control_mode == MODE else ()

    def prelude(self, stage: str) -> Iterator[Tensor]:
        """Actions `[N, 4]` from an ordinary start into a stage."""
        return lift_stages.prelude(self, stage)

    def begin_in(self, stage: str) -> Tensor:
        """Forgets what was before, and says which scenes are in the stage, `[N]` bool."""
        info = self.evaluate()
        self._forget(torch.arange(self.num_envs, device=self.device))
        self._grasped = info["is_grasped"].clone()  # to let go of it is to drop it
        return lift_stages.arrived(self, stage, info)

    # ---- what is seen, reached and paid ------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, Tensor]:
        """Success, and what an episode's behaviour is told from; all `[N]`, metres and env steps."""
        cube, grasped = self.cube.pose.p, self.agent.is_grasping(self.cube)
        self._count(grasped, cube[:, 2] - self.cube_half_size)
        return {
            "success": self._held >= self.hold_steps,
            "is_grasped": grasped,
            "contact_fixed": self._touches(self.agent.finger1_link),
            "contact_moving": self._touches(self.agent.finger2_link),
            "cube_z": cube[:, 2].clone(),
            "opening": self.agent.opening,
            "reach_distance": (cube - self.agent.tcp_pose.p).norm(dim=1),
            "hold_count": self._held.clone(),
        }

    def _touches(self, finger: Any) -> Tensor:
        touches: Tensor = self.scene.get_pairwise_contact_forces(finger, self.cube).norm(dim=1) > TOUCH
        return touches

    def _get_obs_agent(self) -> dict[str, Tensor]:
        return {"qpos": self.agent.robot.get_qpos(), "qvel": self.agent.robot.get_qvel()}

    def _get_obs_extra(self, info: dict[str, Any]) -> dict[str, Tensor]:
        tcp = self.agent.tcp_pose
        tilt = tcp.to_transformation_matrix()[:, :3, :3] @ self.agent.down.T.to(self.device)
        return {"tcp": tcp.p, "tilt": matrix_to_euler_angles(tilt, "XYZ"), "cube": self.cube.pose.p}

    def compute_sparse_reward(self, obs: Any, action: Tensor, info: dict[str, Any]) -> Tensor:
        """1 in steps of success, `[N]`."""
        self._note_state(action, info)
        reward: Tensor = super().compute_sparse_reward(obs, action, info)
        return reward

    def compute_dense_reward(self, obs: Any, action: Tensor, info: dict[str, Any]) -> Tensor:
        """The reward `[N]` of the version; its terms go into `info`, as `reward/<term>`."""
        terms = REWARDS[self.reward_version](self._note_state(action, info))
        info.update({f"{REWARD_TERM}{name}": term for name, term in terms.items()})
        return total(terms)

    def compute_normalized_dense_reward(self, obs: Any, action: Tensor, info: dict[str, Any]) -> Tensor:
        """The dense reward and its terms, as shares of what success pays at the goal."""
        most = maximum(self.reward_version, self.goal, self.hold_steps)
        reward = self.compute_dense_reward(obs, action, info) / most
        info.update({name: term / most for name, term in info.items() if name.startswith(REWARD_TERM)})
        return reward

    @staticmethod
    def reward_again(
        mode: str, definition: dict[str, Any], before: dict[str, Any], inputs: dict[str, Tensor]
    ) -> Tensor:
        """Rewards of stored steps, of any shape, under another definition.

        Args:
            mode: of the reward.
            definition: a `reward_definition` of that mode.
            before: that of the steps when they were made.
            inputs: what steps had in `info` as `reward_input/<name>`, by name.

        Raises:
            UserError: if success is another one, which also ends episodes.
        """
        for name in ("goal", "hold_steps"):
            if definition[name] != before[name]:
                raise UserError(
                    f"LiftCube-v1 cannot recompute rewards for another success: {name} was {before[name]}, and is "
                    f"{definition[name]} here."
                )
        state = state_of(inputs, definition["goal"])
        if mode == "sparse":
            return state.success.float()
        reward = total(REWARDS[definition["version"]](state))
        most = maximum(definition["version"], definition["goal"], definition["hold_steps"])
        return reward / most if mode == "normalized_dense" else reward

    def _note_state(self, action: Tensor, info: dict[str, Any]) -> LiftState:
        """What rewards are made of, which also goes into `info`."""
        closed = info["opening"] <= CLOSED * 2 * self.cube_half_size
        finger = (self.cube.pose.p - self.agent.moving_tip).norm(dim=1)
        state = LiftState(
            distance=info["reach_distance"],
            finger_distance=torch.where(closed, 0, finger),
            raised=info["cube_z"] - self.cube_half_size,
            grasped=info["is_grasped"],
            dropped=self._dropped,
            held=self._held,
            success=info["success"],
            action_change=self._action_change(action),
            goal=self.goal,
        )
        info.update({f"{REWARD_INPUT}{name}": getattr(state, name) for name in INPUTS})
        return state
