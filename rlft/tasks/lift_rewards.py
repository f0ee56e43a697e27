"""Rewards for lifting a cube, in the versions that one project tried one after the other.

Formulas: the founding document "V1 Training to 1M and Staged Rewards Plan" for V1, V3 and V4; the public code of
`ggand0/pick-101` for V2, V11 and V19, with which it came to 100% success from states and from images.

Deviations. Heights are above rest, not above the table: with a cube of half size 0.010 m, as there, z = 0.010 + raised.
V5, of which the document says only that pushing down costs, is V4 less 100 per metre below rest; the public one is V3
less 50, by which pressing the cube 3 mm down while holding it pays 0.25 and costs 0.15. `hold` counts up to success.

N: scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal, get_args

import torch
from torch import Tensor

INPUTS = ("distance", "finger_distance", "raised", "grasped", "dropped", "held", "success", "action_change")
FLAGS = {"grasped", "dropped", "success"}
RewardVersion = Literal["v1", "v2", "v3", "v4", "v5", "v11", "v19"]
Terms = dict[str, Tensor]  # named parts of a reward, each [N]
CLOSE = 0.7  # of V19's reach: about 3 cm, from where on the moving finger has a reach of its own


@dataclass(frozen=True)
class LiftState:
    """What rewards are made of, after a step."""

    distance: Tensor  # [N] metres from gripper to cube
    finger_distance: Tensor  # [N] metres from the moving finger to the cube; 0 where the gripper is closed
    raised: Tensor  # [N] metres of the cube above rest; negative if it is pressed down
    grasped: Tensor  # [N] bool
    dropped: Tensor  # [N] bool: grasped until this step
    held: Tensor  # [N] steps in a row, up to those of success, that the cube has been grasped above the goal
    success: Tensor  # [N] bool
    action_change: Tensor  # [N] squared norm of the difference to the last action
    goal: float  # metres above rest from which on the cube is lifted


def state_of(numbers: Mapping[str, Tensor], goal: float) -> LiftState:
    """The state whose `INPUTS` have been kept as numbers, of any shape."""
    kept = {name: numbers[name].bool() if name in FLAGS else numbers[name] for name in INPUTS}
    return LiftState(**kept, goal=goal)


def v1(s: LiftState) -> Terms:
    """Reach, grasp, a step at 1 cm."""
    return {"reach": _reach(s.distance), "grasp": 0.25 * s.grasped, **_ends(s)}


def v2(s: LiftState) -> Terms:
    """Height pays whether grasped or not."""
    lift, lifted = 50 * s.raised.clamp(min=0), 2.0 * (s.raised > s.goal)
    return {
        "reach": _reach(s.distance),
        "grasp": 0.5 * s.grasped,
        "lift": lift,
        "lifted": lifted,
        "success": _success(s),
    }


def v3(s: LiftState) -> Terms:
    """Height pays, and four times more when grasped."""
    lift = (10 + 40 * s.grasped) * s.raised.clamp(min=0)
    return {"reach": _reach(s.distance), "grasp": 0.25 * s.grasped, "lift": lift, **_ends(s)}


def v4(s: LiftState) -> Terms:
    """V3 without what a grasp pays at rest."""
    return {**v3(s), "grasp": 0.25 * (s.grasped & (s.raised > 0))}


def v5(s: LiftState) -> Terms:
    """V4, and pushing down costs."""
    return {**v4(s), "push": -100 * (-s.raised).clamp(min=0)}


def v11(s: LiftState) -> Terms:
    """Lifting pays only what is held; dropping, pushing down and jerks on high cost."""
    return {
        "reach": _reach(s.distance),
        "grasp": 0.25 * s.grasped,
        "lift": 2 * _progress(s),
        **_costs(s),
        "lifted": 1.0 * (s.raised > s.goal),
        "smooth": -0.01 * s.action_change * (s.raised > 0.05),
        **_ends(s),
    }


def v19(s: LiftState) -> Terms:
    """V11 with a reach of the moving finger, more for a grasp, a ramp near the goal, and a bonus for holding."""
    gripper, finger = _reach(s.distance), _reach(s.finger_distance)
    lifted = s.raised > s.goal
    ramp = 2 * s.grasped * ((s.raised - 0.03) / (s.goal - 0.03)).clamp(0, 1)
    return {
        "reach": torch.where(gripper < CLOSE, gripper, (gripper + finger) / 2),
        "grasp": 1.5 * s.grasped,
        "lift": 4 * _progress(s) + ramp,
        **_costs(s),
        "lifted": 1.0 * lifted,
        "hold": 0.5 * s.held * lifted,
        "smooth": -0.02 * s.action_change * (lifted & (s.held > 0)),
        "raised": 1.0 * (s.grasped & (s.raised > 0.01)),
        "success": _success(s),
    }


REWARDS: Mapping[RewardVersion, Callable[[LiftState], Terms]] = {
    "v1": v1,
    "v2": v2,
    "v3": v3,
    "v4": v4,
    "v5": v5,
    "v11": v11,
    "v19": v19,
}
VERSIONS: tuple[RewardVersion, ...] = get_args(RewardVersion)


def total(terms: Terms) -> Tensor:
    """The reward `[N]` that terms add up to, in their order: to the bit the same for any number of scenes."""
    return reduce(torch.add, terms.values())


def maximum(version: RewardVersion, goal: float, hold_steps: int) -> float:
    """What success pays with the gripper on a cube at the goal: the most that a step pays at that height."""
    yes, no = torch.tensor([True]), torch.tensor([False])
    zero, height = torch.zeros(1), torch.tensor([goal]).nextafter(torch.tensor([1.0]))
    state = LiftState(zero, zero, height, yes, no, zero + hold_steps, yes, zero, goal)
    return float(total(REWARDS[version](state)))


def _reach(distance: Tensor) -> Tensor:
    return 1 - torch.tanh(10 * distance)


def _success(s: LiftState) -> Tensor:
    return 10.0 * s.success


def _ends(s: LiftState) -> Terms:
    return {"raised": 1.0 * (s.raised > 0.01), "success": _success(s)}


def _progress(s: LiftState) -> Tensor:
    """0 at 5 mm above rest, 1 at the goal; of what is grasped."""
    return s.grasped * (s.raised - 0.005).clamp(min=0) / (s.goal - 0.005)


def _costs(s: LiftState) -> Terms:
    return {"push": -50 * (-s.raised).clamp(min=0), "drop": -2.0 * s.dropped}
