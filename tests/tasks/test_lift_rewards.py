"""Rewards of lifting, against the tables of the document that they are from, and against what they were made for.

The document's heights are those of a cube with a half size of 0.010 m.
"""

import dataclasses
import math

import pytest
import torch

from rlft.tasks.lift_rewards import REWARDS, VERSIONS, LiftState, maximum, total

REST, GOAL = 0.010, 0.07
HOVER = 0.01  # metres: a reach of 0.9003


def state(z=REST, grasped=False, distance=math.inf, **others):
    """One scene; without reach unless a distance is given."""
    raised = torch.as_tensor(z, dtype=torch.float64).reshape(-1) - REST
    no = torch.zeros(len(raised), dtype=torch.bool)
    far = torch.full_like(raised, distance)
    plain = LiftState(far, far, raised, no | grasped, no, 0 * raised, no, 0 * raised, GOAL)
    return dataclasses.replace(plain, **{name: no + torch.as_tensor(value) for name, value in others.items()})


def reward(version, *args, **kwargs):
    return float(total(REWARDS[version](state(*args, **kwargs))))


# ---- the document's tables ---------------------------------------------------------------------------------------

V3 = [  # z, without grasp, with grasp; by hand: 10 (z - .01), + .25 + 40 (z - .01) if grasped, + 1 above .02
    (0.010, 0.0, 0.25),
    (0.015, 0.05, 0.50),
    (0.020, 0.10, 0.75),
    (0.050, 1.40, 3.25),
    (0.080, 1.70, 4.75),
]


@pytest.mark.parametrize(("z", "free", "grasped"), V3)
def test_v3_pays_what_its_formula_says(z, free, grasped):
    assert reward("v3", z) == pytest.approx(free)
    assert reward("v3", z, grasped=True) == pytest.approx(grasped)


PRINTED = [(0.010, 0.0, 0.25), (0.015, 0.05, 0.45), (0.020, 1.10, 1.65), (0.050, 1.40, 2.85), (0.080, 1.70, 4.05)]


@pytest.mark.parametrize(("z", "free", "grasped"), PRINTED)
def test_the_printed_table_of_v3_forgets_the_lift_of_a_grasped_cube_and_takes_the_step_one_row_early(z, free, grasped):
    step = 1.0 if z == 0.020 else 0.0  # the code says "above 0.02"
    assert reward("v3", z) + step == pytest.approx(free)
    assert reward("v3", z, grasped=True) + step - 10 * (z - REST) == pytest.approx(grasped)


LATER = [  # z, V3 grasped, V4 grasped, V4 free, as printed, to two digits, "with reach"
    (0.007, 1.15, 0.90, 0.90),
    (0.010, 1.15, 0.90, 0.90),
    (0.015, 1.35, 1.35, 0.95),
    (0.020, 2.65, 2.65, 2.00),
]


@pytest.mark.parametrize(("z", "v3", "v4", "free"), LATER)
def test_the_later_table_has_the_lift_in_its_last_row_and_not_at_15_mm(z, v3, v4, free):
    step, forgotten = (1.0 if z == 0.020 else 0.0), (0.05 if z == 0.015 else 0.0)
    near = {"distance": HOVER}
    assert reward("v3", z, grasped=True, **near) + step - forgotten == pytest.approx(v3, abs=0.005)
    assert reward("v4", z, grasped=True, **near) + step - forgotten == pytest.approx(v4, abs=0.005)
    assert reward("v4", z, **near) + step == pytest.approx(free, abs=0.005)


def test_hovering_for_200_steps_pays_what_was_seen():
    """The document has 176.4 for a policy that hovers; 1 - tanh(0.1) = 0.90033."""
    assert 200 * reward("v4", REST, distance=HOVER) == pytest.approx(180.07, abs=0.01)
    assert reward("v1", REST, grasped=True, distance=HOVER) == pytest.approx(1.15, abs=0.001)


# ---- what the versions were made for -----------------------------------------------------------------------------


def test_pushing_down_pays_in_v3_nothing_in_v4_and_costs_in_v5():
    """3 mm below rest, as the document's first policies pressed."""
    assert reward("v3", 0.007, grasped=True) - reward("v3", 0.007) == pytest.approx(0.25)
    assert reward("v4", 0.007, grasped=True) == reward("v4", 0.007) == 0
    for grasped in (False, True):
        assert reward("v5", 0.007, grasped=grasped) == pytest.approx(-0.3)
        assert reward("v5", 0.007, grasped=grasped) < reward("v5", REST)


def test_v5_is_v4_from_rest_on():
    heights = torch.linspace(REST, 0.12, 56, dtype=torch.float64)
    for grasped in (False, True):
        one, other = (total(REWARDS[version](state(heights, grasped))) for version in ("v4", "v5"))
        assert torch.equal(one, other)


BY_HAND = [
    ("v1", {"z": 0.0201, "grasped": True, "success": True}, 11.25),
    ("v2", {"z": 0.05}, 50 * 0.04),
    ("v2", {"z": 0.09, "grasped": True}, 0.5 + 50 * 0.08 + 2),
    ("v11", {"z": 0.005, "dropped": True}, -50 * 0.005 - 2),
    ("v11", {"z": 0.0475, "grasped": True}, 0.25 + 2 * 0.5 + 1),  # halfway from 15 to 80 mm
    ("v11", {"z": 0.065, "action_change": 4.0}, 1 - 0.04),
    ("v11", {"z": 0.055, "action_change": 4.0}, 1),
    ("v11", {"z": 0.081, "grasped": True, "success": True}, 0.25 + 2 * 0.066 / 0.065 + 1 + 1 + 10),
    ("v19", {"z": 0.030}, 0),
    ("v19", {"z": 0.030, "grasped": True}, 1.5 + 4 * 0.015 / 0.065 + 1),
    ("v19", {"z": 0.060, "grasped": True}, 1.5 + 4 * 0.045 / 0.065 + 1 + 2 * 0.5),  # halfway from 40 to 80 mm
    ("v19", {"z": 0.081, "grasped": True, "held": 3, "action_change": 1.0}, 4.5 + 4 * 0.066 / 0.065 + 1 + 1.5 - 0.02),
    ("v19", {"z": 0.081, "action_change": 1.0}, 1),  # thrown, not held
]


@pytest.mark.parametrize(("version", "given", "expected"), BY_HAND)
def test_other_versions_by_hand(version, given, expected):
    assert reward(version, **given) == pytest.approx(expected)


def test_the_reach_of_v19_counts_the_moving_finger_once_the_gripper_is_close():
    """1 - tanh(0.3) = 0.7087 is close, 1 - tanh(0.4) = 0.6201 is not."""
    assert reward("v19", distance=0.04, finger_distance=0.0) == pytest.approx(1 - math.tanh(0.4))
    mean = 1 - (math.tanh(0.3) + math.tanh(0.5)) / 2
    assert reward("v19", distance=0.03, finger_distance=0.05) == pytest.approx(mean)


# ---- what is true of all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("grasped", [False, True])
def test_a_millimetre_changes_little_except_where_a_step_is_meant(version, grasped):
    """Slopes are at most 100 + 50 + 40 per metre, plus V19's ramp and progress of 2 / 0.04 and 4 / 0.065."""
    heights = torch.linspace(0, 0.1, 10_001, dtype=torch.float64)
    rewards = total(REWARDS[version](state(heights, grasped)))
    jumps = (rewards[1:] - rewards[:-1]).abs() > 1e-5 * 200
    at = {round(float(z), 3) for z in heights[1:][jumps]}
    steps = {
        **{"v1": {0.02}, "v2": {0.08}, "v3": {0.02}, "v4": {0.02, 0.01} if grasped else {0.02}},
        **{"v5": {0.02, 0.01} if grasped else {0.02}, "v11": {0.02, 0.08}, "v19": {0.02, 0.08} if grasped else {0.08}},
    }
    assert at == steps[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_terms_are_one_number_per_scene_and_add_up(version):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand(4, 50, generator=generator)
    flags = torch.rand(3, 50, generator=generator) < 0.5
    held = torch.arange(50.0) % 11
    many = LiftState(*numbers[:2], numbers[2] / 5 - 0.05, *flags[:2], held, flags[2], numbers[3], GOAL)
    terms = REWARDS[version](many)
    assert all(term.shape == (50,) and term.is_floating_point() for term in terms.values())
    reference = sum(term.double() for term in terms.values())
    torch.testing.assert_close(total(terms).double(), reference, atol=1e-5, rtol=0)
    assert {"reach", "success"} <= terms.keys()
    for i in (0, 17):  # one scene has nothing to do with another
        alone = dataclasses.replace(
            many,
            **{
                field.name: getattr(many, field.name)[[i]] for field in dataclasses.fields(many) if field.name != "goal"
            },
        )
        assert float(total(REWARDS[version](alone))) == float(total(terms)[i])


@pytest.mark.parametrize(
    ("version", "most"),
    [("v1", 12.25), ("v2", 17.0), ("v3", 15.75), ("v4", 15.75), ("v5", 15.75), ("v11", 15.25), ("v19", 25.5)],
)
def test_the_maximum_is_what_success_pays_at_the_goal(version, most):
    """V2: 1 + .5 + 50 x .07 + 2 + 10; V3: 1 + .25 + .7 + 2.8 + 1 + 10; V19: 1 + 1.5 + 6 + 1 + 5 + 1 + 10."""
    assert maximum(version, GOAL, 10) == pytest.approx(most, abs=1e-4)
