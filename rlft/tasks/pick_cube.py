"""PickCube-v2: ManiSkill's PickCube-v1, the cube always observed, its places and its goal to be chosen."""

from __future__ import annotations

from typing import Any

from mani_skill.envs.tasks.tabletop.pick_cube import PickCubeEnv
from mani_skill.utils.registration import register_env

from rlft.errors import require


@register_env("PickCube-v2", max_episode_steps=50)
class PickCubeV2(PickCubeEnv):  # type: ignore[misc]  # ManiSkill has no types
    """PickCube-v1, whose state observations it has, with options; `null` leaves one as ManiSkill has it for the robot.

    The pose of the cube and the distances are observed in every mode: with images PickCube-v1 leaves them out.

    Args:
        cube_spawn_half_size: metres; cubes and goals lie in a square of twice that side.
        goal_thresh: metres between cube and goal that are success.
        max_goal_height: metres above the cube's rest.
    """

    def __init__(
        self,
        *args: Any,
        cube_spawn_half_size: float | None = None,
        goal_thresh: float | None = None,
        max_goal_height: float | None = None,
        **kwargs: Any,
    ) -> None:
        chosen = {
            "cube_spawn_half_size": cube_spawn_half_size,
            "goal_thresh": goal_thresh,
            "max_goal_height": max_goal_height,
        }
        self._chosen = {name: value for name, value in chosen.items() if value is not None}
        for name, value in self._chosen.items():
            right = value > 0 or (value == 0 and name != "goal_thresh")
            require(right, f"task_options.{name}", value, "above 0" if name == "goal_thresh" else "at least 0")
        super().__init__(*args, **kwargs)

    def _load_scene(self, options: dict[str, Any]) -> None:
        for name, value in self._chosen.items():  # in place of the robot's, which the constructor has set
            setattr(self, name, value)
        super()._load_scene(options)

    def _get_obs_extra(self, info: dict[str, Any]) -> dict[str, Any]:
        goal, tcp, cube = self.goal_site.pose.p, self.agent.tcp_pose, self.cube.pose
        return {
            "is_grasped": info["is_grasped"],
            "tcp_pose": tcp.raw_pose,
            "goal_pos": goal,
            "obj_pose": cube.raw_pose,
            "tcp_to_obj_pos": cube.p - tcp.p,
            "obj_to_goal_pos": goal - cube.p,
        }
