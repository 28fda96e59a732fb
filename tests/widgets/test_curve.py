"""A curve keeps its shape in a bounded number of points."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medfusion_jupyter.widgets.charts import axis_end, round_values
from medfusion_jupyter.widgets.curve import Curve


@given(st.lists(st.floats(-5, 5), max_size=3000), st.integers(2, 60), st.integers(1, 400))
def test_bounded_in_order_and_true_however_it_arrives(values, limit, chunk):
    limit -= limit % 2
    curve = Curve(max_points=limit)
    for start in range(0, len(values), chunk):
        part = values[start : start + chunk]
        curve.extend(range(start + 1, start + 1 + len(part)), part)
    x, y = curve.arrays(1.0)
    assert len(x) == len(y) <= limit
    assert (np.diff(x) > 0).all()
    if values:
        assert x[-1] == len(values)
        assert min(values) - 1e-4 <= y.min() <= y.max() <= max(values) + 1e-4
    if len(values) < limit:
        assert np.allclose(y, values)


def test_gaps_are_left_out():
    curve = Curve()
    curve.extend([1, 2, 3], [1.0, None, 3.0])
    x, y = curve.arrays(2.0)
    assert (x.tolist(), y.tolist()) == ([0.5, 1.5], [1.0, 3.0])
    assert curve.last_step == 3


@given(st.integers(1, 10**9))
def test_epochs_are_marked_at_a_few_whole_numbers_within_the_axis(end):
    marks = round_values(0, end, at_most=7, apart=1)
    assert 2 <= len(marks) <= 7
    assert marks[0] == 0
    assert marks[-1] <= end
    distance = int(marks[1])
    assert distance == 1 or str(distance).rstrip("0") in ("1", "2", "5")


@given(st.floats(-1e6, 1e6), st.floats(1e-5, 1e6))
def test_values_are_marked_at_a_few_round_numbers_within_the_axis(low, length):
    marks = round_values(low, low + length, at_most=6)
    assert 1 <= len(marks) <= 6
    assert low - 1e-9 <= marks[0] <= marks[-1] <= low + length + 1e-9
    for distance in np.diff(marks):
        assert f"{distance:.0e}"[0] in "125"


def test_points_stand_for_stretches_of_the_same_length():
    curve = Curve(max_points=20)
    curve.extend(range(1, 1001), [float(step) for step in range(1, 1001)])
    x, y = curve.arrays(1.0)
    gaps = np.diff(x)[:-1]
    assert set(gaps.tolist()) == {64.0}
    assert np.allclose(y[:-1], x[:-1] - 31.5)


@given(st.floats(min_value=0, max_value=1e5), st.integers(min_value=1, max_value=100_000))
def test_the_curves_of_a_run_fill_their_axis_and_never_leave_it(reached, total):
    reached = min(reached, total)
    end = axis_end(reached, total)
    assert reached <= end <= total
    assert end == total or end == 20 or reached > 0.4 * end


def test_a_short_run_has_its_whole_axis_from_the_start():
    assert [axis_end(reached, 15) for reached in (0, 1, 15)] == [15, 15, 15]
    assert [axis_end(reached, 900) for reached in (0, 14, 20, 20.1, 43, 800)] == [20, 20, 20, 50, 50, 900]
