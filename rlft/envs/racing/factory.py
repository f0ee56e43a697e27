"""The configuration of a race against the clock."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from gymnasium.error import DependencyNotInstalled

from rlft.envs.racing.raster import SIDE
from rlft.envs.racing.scene import HIGH, INFO, LOW, NUM_FLOATS, TABLES, Actions, Drive
from rlft.envs.replayed import ReplayedBatch
from rlft.errors import UserError, require
from rlft.types import BatchEnv, Behaviour, EnvFactory, EnvSpec, Failure, Measure, Renderer

View = Literal["raster", "stock"]
BEHAVIOUR = Behaviour(
    measures=(
        Measure("lap_time", "lap_seconds", "last"),
        Measure("tiles", "tiles", "last"),
        Measure("off_road", "off_road", "mean"),
    ),
    failures=(
        Failure("drives_beside_the_road", {"off_road": (0.5, None)}),
        Failure("nearly_finishes", {"tiles": (0.9, None)}),
        Failure("is_too_slow", {}),
    ),
)


@dataclass(frozen=True)
class Racing(EnvFactory):
    """Gymnasium's CarRacing-v3, with its own dynamics, tracks and rewards: a car, a new track in every episode.

    Success is a finished lap. `behaviour/lap_time` of evaluations is in seconds, the whole time limit without one.

    Args:
        view: where pictures come from: a raster of the track, or the stock environment's drawing, which takes 99% of
            its time.
        image: observe the picture, 64 x 64 in grey.
        floats: observe speed, wheels, steering, yaw rate, the last two actions and the time that is left.
        waypoints: how many points of the road ahead to observe with them, every 7 units, in the car's frame.
        actions: `discrete5` are the stock choices, `discrete12` three of steering by four of pedals, `continuous` is
            steering, gas and brake.
        frame_skip: frames of 1/50 second that an action lasts; only the last one is drawn.
        max_frames: of an episode.
    """

    view: View = "raster"
    image: bool = True
    floats: bool = True
    waypoints: int = 0
    actions: Actions = "discrete5"
    frame_skip: int = 4
    max_frames: int = 1000

    def __post_init__(self) -> None:
        for name, allowed in (("view", get_args(View)), ("actions", get_args(Actions))):
            value = getattr(self, name)
            require(value in allowed, f"data.env.{name}", value, f"one of {', '.join(allowed)}")
        require(0 <= self.waypoints <= 100, "data.env.waypoints", self.waypoints, "from 0 to 100")
        require(self.floats or not self.waypoints, "data.env.floats", self.floats, "true where there are waypoints")
        require(self.image or self.floats, "data.env.image", self.image, "true where floats are false")
        require(self.frame_skip >= 1, "data.env.frame_skip", self.frame_skip, "at least 1")
        require(
            self.max_frames >= self.frame_skip and self.max_frames % self.frame_skip == 0,
            "data.env.max_frames",
            self.max_frames,
            f"a multiple of frame_skip, {self.frame_skip}",
        )

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` cars, each with a track of its own.

        Raises:
            UserError: if Box2D or pygame is missing.
        """
        _require_packages()
        return ReplayedBatch(self.spec(), lambda: Drive(self), num_envs)

    def starts(self) -> str:
        """See `EnvFactory.starts`: tracks depend on their seeds alone."""
        return "Racing"

    def drawing_device(self) -> str:
        """See `EnvFactory.drawing_device`."""
        _require_packages()
        return "pygame"

    def renderer(self, size: int) -> Renderer:
        """See `rlft.envs.racing.drawing.RacingRenderer`."""
        from rlft.envs.racing.drawing import RacingRenderer

        return RacingRenderer(self, size)

    def spec(self) -> EnvSpec:
        """What a policy needs to know."""
        table = TABLES.get(self.actions)
        low, high = (torch.tensor(LOW), torch.tensor(HIGH)) if table is None else torch.tensor([[0], [len(table) - 1]])
        return EnvSpec(
            "Racing",
            (NUM_FLOATS + 2 * self.waypoints) if self.floats else 0,
            len(low),
            low,
            high,
            self.max_frames // self.frame_skip,
            control_mode=self.actions,
            info=INFO,
            behaviour=BEHAVIOUR,
            image=(1, SIDE, SIDE) if self.image else None,
            choices=None if table is None else len(table),
            snapshots=False,
        )

    def describe(self, spec: EnvSpec) -> dict[str, Any]:
        """See `EnvFactory.describe`; the time limit is no part of what observations mean."""
        options = {name: getattr(self, name) for name in ("view", "image", "floats", "waypoints", "frame_skip")}
        again = {"class_path": "rlft.envs.Racing", "init_args": asdict(self)}
        return {**super().describe(spec), "task_options": options, "environment": again}


def _require_packages() -> None:
    """Refuses to go on without what the stock environment is made of."""
    try:
        importlib.import_module("rlft.envs.racing.car")
    except (ImportError, DependencyNotInstalled) as error:
        missing = error.__cause__ or error  # Gymnasium advises to build from source what a wheel brings
        raise UserError(
            f"Racing needs Box2D and pygame, of which something is missing ({missing}); "
            'pip install "rlft[racing]" brings both.'
        ) from error
