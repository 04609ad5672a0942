"""The bounds of a Clip, at every opset, for floats and integers."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from planish.ir.graph.types import TensorType
from planish.ir.graph.uses import Uses
from planish.ir.graph.view import View
from planish.ir.ops.clips import clip_bounds, limits

from tests.helpers import graph_of

LARGEST = float(np.finfo(np.float32).max)


def bounds_of(node, opset, weights=None, dtype=np.float32, **kwargs):
    held = {k: np.asarray(v, dtype) for k, v in (weights or {}).items()}
    graph = graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> '
        f"g (float[2] x) => (float[2] y) {{ {node} }}",
        held,
    )
    known = None if dtype is None else TensorType(np.dtype(dtype), (2,))
    return clip_bounds(graph.nodes[-1], View(graph, Uses(graph), lambda tensor: known), **kwargs)


@pytest.mark.parametrize(
    ("node", "opset", "expected"),
    [
        ("y = Clip <min = -1.5, max = 6.0> (x)", 6, (-1.5, 6)),
        ("y = Clip <max = 6.0> (x)", 10, (-LARGEST, 6)),
        ("y = Clip <min = 1.0> (x)", 10, (1, LARGEST)),
        ("y = Clip (x, low, high)", 11, (-1.5, 6)),
        ("y = Clip (x, , high)", 13, (-LARGEST, 6)),
        ("y = Clip (x, low)", 13, (-1.5, LARGEST)),
        ("y = Clip (x)", 13, (-LARGEST, LARGEST)),
        ("y = Clip (x, two)", 13, None),
    ],
)
def test_bounds_wherever_the_opset_has_them(node, opset, expected):
    weights = {"low": -1.5, "high": 6, "two": [1, 2]}
    used = {k: v for k, v in weights.items() if k in node}
    assert bounds_of(node, opset, used) == expected


@pytest.mark.parametrize("bound", ["low", "high"])
def test_a_bound_that_is_no_number_bounds_nothing(bound):
    weights = {"low": -1, "high": 6} | {bound: np.nan}
    assert bounds_of("y = Clip (x, low, high)", 13, weights) is None


def test_bounds_of_integers_are_exact():
    low, high = -(2**62) - 1, 2**62 + 1
    found = bounds_of("y = Clip (x, low, high)", 13, {"low": low, "high": high}, np.int64)
    assert found == (low, high)
    assert all(isinstance(bound, int) for bound in found)
    assert bounds_of("y = Clip (x)", 13, dtype=np.uint8) == (0, 255)


def test_a_computed_bound_is_unknown_unless_it_is_told():
    node = "low = ReduceMax (x) y = Clip (x, low)"
    assert bounds_of(node, 13) is None
    values = np.float32([0.5])
    assert bounds_of(node, 13, values_of=lambda tensor: values) == (0.5, LARGEST)


@pytest.mark.parametrize("dtype", [None, np.bool_])
def test_no_bounds_without_a_type_that_has_an_order(dtype):
    assert bounds_of("y = Clip (x)", 13, dtype=dtype) is None


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.int8, (-128, 127)),
        (np.uint64, (0, 2**64 - 1)),
        (np.float16, (-65504.0, 65504.0)),
        (np.float64, (-np.finfo(np.float64).max, np.finfo(np.float64).max)),
        (ml_dtypes.bfloat16, (-3.3895313892515355e38, 3.3895313892515355e38)),
    ],
)
def test_finite_limits(dtype, expected):
    assert limits(np.dtype(dtype)) == expected
