"""How many elements a Slice takes of an axis, against Python's own slices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planish.ir.ops.slices import FARTHEST, TO_THE_END, AxisBounds


@pytest.mark.parametrize("step", [-3, -2, -1, 1, 2, 3])
def test_as_many_as_python_takes(step):
    around = range(-7, 8)
    for size, start, end in itertools.product(range(6), around, around):
        first = max(start, -size) if step < 0 else start  # ONNX has it begin at the first element
        expected = len(range(*slice(first, end, step).indices(size)))
        assert AxisBounds(0, start, end, step).taken(size) == expected, (size, start, end)


@pytest.mark.parametrize("step", [-3, -1, 1, 2])
def test_the_part_is_what_is_taken(step):
    x = np.arange(5)
    for start, end in itertools.product(range(-7, 8), range(-7, 8)):
        first = max(start, -5) if step < 0 else start
        part = AxisBounds(0, start, end, step).part(5)
        assert x[part].tolist() == x[first:end:step].tolist(), (start, end)


def test_the_part_of_an_axis_whose_size_is_not_known():
    assert AxisBounds(0, -3, -1, 2).part("n") == slice(-3, -1, 2)
    assert AxisBounds(0, 2, -TO_THE_END, -1).part(None) == slice(2, None, -1)
    assert AxisBounds(0, -1, 0, -1).part("n") == slice(-1, 0, -1)
    assert AxisBounds(0, -2, 0, -1).part("n") is None  # before the begin it is the begin
    assert AxisBounds(0, -2, 0, -1).part(1) == slice(0, 0, -1)
    assert AxisBounds(0, 5, -FARTHEST, -1).part("n") == slice(5, -FARTHEST, -1)


@pytest.mark.parametrize("end", [FARTHEST, TO_THE_END])
def test_backwards_to_the_farthest_end_has_no_part(end):
    assert AxisBounds(0, 4, end, -1).part(5) is None
    assert AxisBounds(0, 4, end - 1, -1).part(5) == slice(4, end - 1, -1)
    assert AxisBounds(0, 4, end - 1, -1).taken(5) == 0


@pytest.mark.parametrize("end", [FARTHEST, TO_THE_END])
def test_the_farthest_end_leaves_nothing_out(end):
    assert AxisBounds(0, 1, end, 2).taken(6) == 3
    assert AxisBounds(0, -2, end, -1).taken(6) == 5
    assert AxisBounds(0, 0, end, 1).taken("n") == "n"
    assert AxisBounds(0, 0, end, 1).taken(None) is None
    assert AxisBounds(0, 1, end, 1).taken("n") is None
    assert AxisBounds(0, 0, end, 2).taken("n") is None
    assert AxisBounds(0, 0, 3, 1).taken("n") is None
