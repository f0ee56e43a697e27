"""Curves of runs: their alignment without invented points, and the numbers they are reported by."""

import math

import numpy as np
import pytest

from rlft.comparison.alignment import Curve, align, curve, thinned
from rlft.comparison.curve_summary import area, lasting_falls, summarize
from rlft.comparison.runs import Run
from rlft.errors import UserError
from rlft.statistics.rates import wilson
from tests.support.comparison import read_run, run_folder, write


def of(points, begun=1):
    """A curve with these values by x."""
    x, value = np.array(list(points), dtype=float), np.array(list(points.values()), dtype=float)
    nothing = np.full(len(x), math.nan)
    return Curve(Run("run", "run", 1, {}), x, value, nothing, nothing, begun)


def test_runs_evaluated_at_the_same_points():
    x, values = align([of({0: 1, 5: 2, 9: 3}), of({0: 4, 5: 5, 9: 6})])
    assert x.tolist() == [0, 5, 9]
    assert values.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_between_evaluations_the_latest_one_counts_and_the_shortest_run_ends_the_curve():
    x, values = align([of({0: 1, 4: 2, 8: 3, 12: 4}), of({1: 5, 6: 6, 10: 7})])
    assert x.tolist() == [1, 4, 6, 8, 10]
    assert values.tolist() == [[1, 2, 2, 3, 3], [5, 5, 6, 6, 7]]


def test_of_several_evaluations_at_one_x_the_last_counts():
    one = of({0: 1, 5: 2})
    one = Curve(one.run, np.array([0.0, 5.0, 5.0]), np.array([1.0, 2.0, 3.0]), one.low, one.high, 1)
    x, values = align([one, of({0: 4, 5: 5})])
    assert (x.tolist(), values.tolist()) == ([0, 5], [[1, 3], [4, 5]])


def test_runs_with_no_stretch_in_common_have_no_curve():
    x, values = align([of({0: 1, 2: 2}), of({3: 5, 6: 6})])
    assert (x.tolist(), values.shape) == ([], (2, 0))


def test_thinning_invents_nothing_and_keeps_the_ends():
    x = np.arange(1000.0) ** 2
    kept = thinned(x, 20)
    assert len(kept) == 20
    assert set(kept) <= set(x)
    assert (kept[0], kept[-1]) == (x[0], x[-1])


def test_wilson_bounds_come_from_the_log_or_from_the_number_of_episodes(tmp_path):
    ours = read_run(run_folder(tmp_path, "ours", [0.25, 0.5]))
    found = curve(ours, "eval/success_rate", "env_steps", episodes=0)
    assert list(zip(found.low, found.high, strict=True)) == [pytest.approx(wilson(k, 128)) for k in (32, 64)]
    assert found.begun == 1
    other = read_run(write(tmp_path / "other", {"eval/success_once": {0: 0.2, 9: 0.4}}))
    assert curve(other, "eval/success_rate", "env_steps", episodes=5).low.tolist() == [wilson(1, 5)[0], wilson(2, 5)[0]]
    assert np.isnan(curve(other, "eval/success_rate", "env_steps", episodes=0).low).all()
    bounds = {"eval/success_rate_low": {0: 0.15}, "eval/success_rate_high": {0: 0.28}}
    some = read_run(write(tmp_path / "some", {"eval/success_rate": {0: 0.2, 9: 0.9}, **bounds}))
    low = curve(some, "eval/success_rate", "env_steps", episodes=0).low
    assert (low[0], math.isnan(low[1])) == (pytest.approx(0.15), True)  # not the bounds of another evaluation
    with pytest.raises(UserError, match="does not log its simulator steps; choose another --x"):
        curve(other, "eval/success_rate", "sim_steps", episodes=0)


def test_the_numbers_of_a_curve_by_hand():
    points = {0: 0.9, 1: 0.2, 2: 0.4, 3: 0.5, 4: 0.8, 5: 0.6, 7: 0.7}
    found = summarize(of(points), 1, 5, threshold=0.5, fall=0.3)
    assert (found.first, found.last, found.best) == (0.9, 0.7, 0.8)  # the start policy is not the best of the training
    assert found.last_fifth == pytest.approx((0.6 + 0.7) / 2)  # of six evaluations, 1.2 rounded up
    # trapezoids from 1 to 5: 0.3, 0.45, 0.65, 0.7
    assert found.area == pytest.approx((0.3 + 0.45 + 0.65 + 0.7) / 4)
    assert (found.reached, found.collapsed) == (0, 1)
    assert summarize(of(points), 1, 5, threshold=0.95, fall=0.8).reached == math.inf


def test_a_run_that_was_only_evaluated_before_training():
    found = summarize(of({0: 0.4}), 0, 0, threshold=0.5, fall=0.2)
    assert (found.last, found.last_fifth, found.best) == (0.4, 0.4, 0.4)
    assert math.isnan(found.area)


def test_logs_hold_floats_of_32_bits():
    """0.9 is none of them: what was logged as 0.9 lies just below; 0.3 less 0.2 lies just above 0.1."""
    points = {x: float(np.float32(value)) for x, value in {0: 0.5, 1: 0.7, 2: 0.9, 3: 0.9}.items()}
    for threshold, reached in {0.7: 1, 0.9: 2}.items():
        assert summarize(of(points), 0, 3, threshold, fall=0.2).reached == reached
    assert not lasting_falls(np.array([0.3, 0.1, 0.1, 0.1], dtype=np.float32).astype(float), 0.2).any()


def test_of_several_evaluations_at_one_x_the_last_counts_in_the_area():
    x, value = np.array([0.0, 10.0, 10.0, 10.0]), np.array([0.25, 0.25, 0.5, 0.75])
    assert area(x, value, 0, 10) == pytest.approx(0.5)


def test_areas():
    x, value = np.array([0.0, 10.0, 30.0]), np.array([0.0, 1.0, 0.0])
    assert area(x, value, 0, 30) == pytest.approx(0.5)
    assert area(x, value, 5, 20) == pytest.approx((5 * 0.75 + 10 * 0.75) / 15)  # from 0.5 up to 1 and down to 0.5


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ([0.2, 0.8, 0.7, 0.8], []),
        ([0.2, 0.8, 0.3, 0.3, 0.8, 0.8], []),  # it recovers after two
        ([0.2, 0.8, 0.3, 0.3, 0.3, 0.8], [2]),
        ([0.2, 0.8, 0.9, 0.8, 0.4], [4]),  # to the end
        ([0.9, 0.65, 0.65, 0.65], [1, 2, 3]),  # below its start
        ([0.75, 0.5, 0.5], []),  # exactly 0.25 is not more than 0.25
    ],
)
def test_collapses(values, begins):
    assert np.flatnonzero(lasting_falls(np.array(values), 0.25 if values[0] == 0.75 else 0.2)).tolist() == begins
