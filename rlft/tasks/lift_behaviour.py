"""What is told of a policy that is to lift a cube: numbers of an episode, and what failed episodes are called."""

from __future__ import annotations

from rlft.types import Range

Kinds = list[tuple[str, dict[str, Range]]]
NEARBY = 0.05  # metres from gripper to cube
PRESSED = 0.1  # share of an episode with one finger at the cube
MEASURES = {  # entry of `LiftCube.evaluate`, and how the steps of an episode are summed up
    "max_cube_z": ("cube_z", "max"),
    "min_cube_z": ("cube_z", "min"),
    "grasp_share": ("is_grasped", "mean"),
    "contact_fixed_share": ("contact_fixed", "mean"),
    "contact_moving_share": ("contact_moving", "mean"),
    "mean_opening": ("opening", "mean"),
    "opening_at_end": ("opening", "last"),
    "min_reach_distance": ("reach_distance", "min"),
    "longest_hold": ("hold_count", "max"),
}


def failures(closed: float) -> Kinds:
    """Kinds of failed episodes, of which the first counts whose ranges all hold.

    Args:
        closed: opening in metres from which on a gripper is open.
    """
    some, none = (PRESSED, None), (None, 0.0)
    return [
        ("lifts_but_does_not_hold", {"longest_hold": (1, None)}),
        ("grasps_but_does_not_lift", {"grasp_share": (1e-6, None)}),
        ("presses_with_one_finger", {"contact_fixed_share": some, "contact_moving_share": none}),
        ("presses_with_one_finger", {"contact_fixed_share": none, "contact_moving_share": some}),
        ("never_comes_near", {"min_reach_distance": (NEARBY, None)}),
        ("hovers_open_handed", {"mean_opening": (closed, None)}),
        ("closes_beside_it", {"contact_fixed_share": none, "contact_moving_share": none}),
    ]
