"""A scripted driver: it steers at a point of the road ahead, and slows down for what comes behind that.

Pure pursuit (Coulter, Implementation of the Pure Pursuit Path Tracking Algorithm, 1992) with choices in place of
curvatures: a point far enough to the side is steered at. Where steering and pedals exclude each other, it steers first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.envs.racing.scene import FAR, NUM_FLOATS, SCALES, SPEED, STEERING, TABLES, Actions
from rlft.errors import require
from rlft.types import Acted, Actor, Obs

WAYPOINTS = 20


@dataclass(frozen=True)
class Style:
    """How it drives; angles are those of waypoints to the right of straight ahead, radians."""

    aim: int  # the waypoint that it steers at, from 0
    dead: float  # angles that it does not steer for
    wheel: float  # share of the wheels' angle that counts as steered already
    far: int  # the waypoint whose angle it slows down for
    slowing: float  # share of the top speed lost per radian of that
    top: float  # units per second
    least: float  # units per second
    brakes: float  # share of the wanted speed above which it brakes
    slip: float  # angle of the point it steers at, above which it gives no gas


STYLES = {
    "discrete5": Style(2, 0.19, 0.0, 5, 0.71, 103.0, 34.0, 1.2, math.inf),
    "discrete12": Style(1, 0.15, 0.79, 6, 1.0, 51.9, 43.8, 1.15, 0.43),
}


class PurePursuitDriver(Actor):
    """Drives `Racing` from its floats with 20 waypoints; it has no weights and never explores.

    Args:
        actions: those of the environment.
    """

    obs_dim, action_dim, noise_dim = NUM_FLOATS + 2 * WAYPOINTS, 1, 0

    def __init__(self, actions: Actions = "discrete12") -> None:
        require(actions in STYLES, "actions of a PurePursuitDriver", actions, f"one of {', '.join(STYLES)}")
        super().__init__()
        self.actions = actions
        self.choices = len(TABLES[actions])

    def act(self, obs: Obs, noise: Tensor, *, explore: bool = True) -> Acted:
        """The same choice whoever asks, which no density belongs to."""
        style = STYLES[self.actions]
        waypoints = obs.state[..., NUM_FLOATS:].reshape(*obs.shape, WAYPOINTS, 2) * FAR  # to the right, ahead
        angles = torch.atan2(waypoints[..., 0], waypoints[..., 1])  # [..., 20]
        aim = angles[..., style.aim]
        steered = -obs.state[..., STEERING][..., 0] * float(SCALES[STEERING.start])  # to the right
        to_steer = aim - style.wheel * steered
        side = (to_steer > style.dead).long() - (to_steer < -style.dead).long()  # 1: right, -1: left
        speed = obs.state[..., SPEED][..., 0] * float(SCALES[SPEED.start])
        wanted = (style.top * (1 - style.slowing * angles[..., style.far].abs())).clamp(style.least, style.top)
        brake = (speed > style.brakes * wanted).long()
        gas = ((speed < wanted) & (aim.abs() < style.slip)).long()
        action = self._choice(side, gas, brake)[..., None]
        return Acted(action=action, log_prob=obs.state.new_zeros(*obs.shape, 0))

    def _choice(self, side: Tensor, gas: Tensor, brake: Tensor) -> Tensor:
        """The row of the table of actions: these are 1 or 0, `side` also -1."""
        if self.actions == "discrete5":
            pedals = torch.where(brake > 0, 4, 3 * gas)
            return torch.where(side > 0, 1, torch.where(side < 0, 2, pedals))
        steering = torch.where(side < 0, 1, 2 * side.clamp(min=0))
        return 4 * steering + torch.where(brake > 0, 2, 1 - gas)
