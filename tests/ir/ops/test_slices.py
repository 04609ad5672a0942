"""How many elements a Slice takes of an axis, against Python's own slices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import planish
from planish.ir.ops.slices import (
    FARTHEST,
    TO_THE_END,
    AxisBounds,
    read_bounds,
    read_slice,
    takes_all,
)

from tests.helpers import model_of, run_ort, view_of


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


def _model(bounds, opset=20):
    """Return a Slice of float[4, 5, 6]: its bounds are inputs, below opset 10 attributes."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    if opset < 10:
        given = ", ".join(f"{name} = {values}" for name, values in bounds.items())
        body = f"y = Slice <{given}> (x)"
        return model_of(f"{header} g (float[4, 5, 6] x) => (float[a, b, c] y) {{ {body} }}")
    names = ["starts", "ends", "axes", "steps"]
    read = ", ".join(name if name in bounds else "" for name in names).rstrip(", ")
    return model_of(
        f"{header} g (float[4, 5, 6] x) => (float[a, b, c] y) {{ y = Slice (x, {read}) }}",
        {name: np.array(values, np.int64) for name, values in bounds.items()},
    )


def _read(model, read):
    graph = planish.load(model)
    return read(graph.nodes[0], view_of(graph))


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize(
    "bounds",
    [
        {"starts": [1, 2], "ends": [3, 9]},
        {"starts": [1, -3], "ends": [-1, -1], "axes": [2, 0]},
        {"starts": [-9], "ends": [TO_THE_END], "axes": [-2]},
        {"starts": [4, 0, 3], "ends": [0, 4, 9], "axes": [2, -2, 0], "steps": [-2, 3, 1]},
        {"starts": [-2, 9], "ends": [-TO_THE_END, 1], "axes": [1, 2], "steps": [-1, -1]},
    ],
)
def test_read_as_onnx_runtime_takes(opset, bounds):
    if opset < 10 and "steps" in bounds:
        pytest.skip("steps came with opset 10")
    model = _model(bounds, opset)
    x = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    expected = run_ort(model, {"x": x})["y"]
    found = _read(model, read_slice)
    np.testing.assert_array_equal(
        x[tuple(found.get(axis, slice(None)) for axis in range(3))], expected
    )
    taken = {each.axis: each.taken(x.shape[each.axis]) for each in _read(model, read_bounds)}
    assert tuple(taken.get(axis, x.shape[axis]) for axis in range(3)) == expected.shape
    assert taken.keys() == found.keys()


@pytest.mark.parametrize(
    "bounds",
    [
        {"starts": [0], "ends": [3], "axes": [3]},
        {"starts": [0, 1], "ends": [3]},
        {"starts": [0], "ends": [3, 4]},
        {"starts": [0, 1], "ends": [3, 4], "axes": [1]},
        {"starts": [0], "ends": [3], "axes": [1], "steps": [1, 1]},
        {"starts": [0], "ends": [3], "axes": [1], "steps": [0]},
    ],
)
def test_bounds_that_fit_no_axes_are_not_read(bounds):
    model = _model(bounds)
    assert _read(model, read_bounds) is None
    assert _read(model, read_slice) is None


@pytest.mark.parametrize("computed", ["starts", "ends", "axes", "steps"])
def test_bounds_that_are_computed_are_not_read(computed):
    values = {
        name: np.array([1]) for name in ("starts", "ends", "axes", "steps") if name != computed
    }
    model = model_of(
        f"""g (float[4, 5] x, int64[1] {computed}) => (float[a, b] y) {{
            y = Slice (x, starts, ends, axes, steps) }}""",
        values,
    )
    assert _read(model, read_bounds) is None
    graph = planish.load(model)
    known = {**values, computed: np.array([1])}
    (found,) = read_bounds(graph.nodes[0], view_of(graph), lambda tensor: known.get(tensor.name))
    assert found == AxisBounds(1, 1, 1, 1)
    parts = read_slice(graph.nodes[0], view_of(graph), lambda tensor: known.get(tensor.name))
    assert parts == {1: slice(1, 1, 1)}


def test_a_slice_that_depends_on_an_unknown_size_is_not_read():
    model = model_of(
        """g (float[N, 5] x) => (float[a, b] y) { y = Slice (x, starts, ends, axes, steps) }""",
        {
            "starts": np.array([-2, 0]),
            "ends": np.array([-TO_THE_END, 2]),
            "axes": np.array([0, 1]),
            "steps": np.array([-1, 1]),
        },
    )
    assert len(_read(model, read_bounds)) == 2
    assert _read(model, read_slice) is None


@pytest.mark.parametrize(
    ("part", "size", "whole"),
    [
        (slice(0, 5, 1), 5, True),
        (slice(-9, 9, 1), 5, True),
        (slice(0, 4, 1), 5, False),
        (slice(1, 5, 1), 5, False),
        (slice(0, 5, 2), 1, False),
        (slice(0, FARTHEST, 1), "n", True),
        (slice(-FARTHEST - 1, FARTHEST, 1), None, True),
        (slice(-FARTHEST, FARTHEST, 1), None, False),
        (slice(0, FARTHEST - 1, 1), "n", False),
        (slice(1, FARTHEST, 1), "n", False),
    ],
)
def test_what_takes_an_axis_as_it_is(part, size, whole):
    assert takes_all(part, size) is whole
