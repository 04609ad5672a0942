"""How many elements a Slice takes of an axis, against Python's own slices."""

from __future__ import annotations

import itertools

import pytest

from planish.ir.ops.slices import FARTHEST, TO_THE_END, AxisBounds


@pytest.mark.parametrize("step", [-3, -2, -1, 1, 2, 3])
def test_as_many_as_python_takes(step):
    around = range(-7, 8)
    for size, start, end in itertools.product(range(6), around, around):
        first = max(start, -size) if step < 0 else start  # ONNX has it begin at the first element
        expected = len(range(*slice(first, end, step).indices(size)))
        assert AxisBounds(0, start, end, step).taken(size) == expected, (size, start, end)


@pytest.mark.parametrize("end", [FARTHEST, TO_THE_END])
def test_the_farthest_end_leaves_nothing_out(end):
    assert AxisBounds(0, 1, end, 2).taken(6) == 3
    assert AxisBounds(0, -2, end, -1).taken(6) == 5
    assert AxisBounds(0, 0, end, 1).taken("n") == "n"
    assert AxisBounds(0, 0, end, 1).taken(None) is None
    assert AxisBounds(0, 1, end, 1).taken("n") is None
    assert AxisBounds(0, 0, end, 2).taken("n") is None
    assert AxisBounds(0, 0, 3, 1).taken("n") is None
