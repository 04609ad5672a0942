"""Axes that a node names, and what is normalized along the last one alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.ops.axes.named import axes_of, normal_axes, normalizes_rows
from planish.ir.ops.axes.reductions import read_reduction

from tests.helpers import graph_of, run_ort, view_of

X = np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32)
WEIGHTS = {"last": np.ones(4, np.float32), "two": np.ones((3, 4), np.float32)}


def test_axes_count_from_either_end():
    assert normal_axes([0, -1, 2], 3) == [0, 2, 2]
    assert normal_axes(-3, 3) == [0]
    assert normal_axes([3], 3) is None
    assert normal_axes([-4], 3) is None
    assert normal_axes([], 3) == []


def opened(call, opset, inputs="float[2, 3, 4] x"):
    words = call.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[] y) {{ {call} }}',
        {name: values for name, values in WEIGHTS.items() if name in words},
    )


ROWS = [
    ("y = Softmax (x)", 13, True),
    ("y = Softmax <axis = 2> (x)", 13, True),
    ("y = Softmax <axis = 1> (x)", 13, False),
    ("y = Softmax (x)", 11, False),  # all from the second axis on
    ("y = Softmax <axis = -1> (x)", 11, True),
    ("y = LogSoftmax (x)", 13, True),
    ("y = LayerNormalization (x, last)", 17, True),
    ("y = LayerNormalization <axis = 2> (x, last, last)", 17, True),
    ("y = LayerNormalization <axis = 1> (x, two)", 17, False),
    ("y = Relu (x)", 13, False),
    ("y = Concat <axis = -1> (x, x)", 13, False),
]


@pytest.mark.parametrize(("call", "opset", "expected"), ROWS)
def test_rows_that_are_normalized_each_for_itself(call, opset, expected):
    graph = opened(call, opset)
    assert normalizes_rows(graph.nodes[0], view_of(graph)) is expected
    if graph.nodes[0].op in ("Softmax", "LogSoftmax", "LayerNormalization"):
        whole = run_ort(planish.to_model(graph), {"x": X})["y"]
        rows = [[run_ort(planish.to_model(graph), {"x": _alone(i, j)})["y"][i, j]
                 for j in range(3)] for i in range(2)]  # fmt: skip
        assert np.allclose(rows, whole, atol=1e-6) == expected


def _alone(i, j):
    """Return x with other values in all rows but one."""
    x = X * np.float32(3) + 1
    x[i, j] = X[i, j]
    return x


def test_a_rank_that_is_not_known_tells_nothing():
    graph = opened("y = Softmax (x)", 13)
    graph.inputs[0].shape = None
    assert not normalizes_rows(graph.nodes[0], view_of(graph))
    graph = opened("y = Softmax (x)", 13, "float x")
    assert not normalizes_rows(graph.nodes[0], view_of(graph))


def test_a_scale_of_more_axes_is_no_row():
    graph = opened("y = LayerNormalization (x, two)", 17)
    assert not normalizes_rows(graph.nodes[0], view_of(graph))


def test_axes_may_be_told():
    graph = opened("y = ReduceSum (x, a)", 13, "float[2, 3, 4] x, int64[1] a")
    node, view = graph.nodes[0], view_of(graph)
    assert axes_of(node, view, 3) == (None, False)
    assert axes_of(node, view, 3, lambda tensor: np.array([-1])) == ([2], True)
    assert axes_of(node, view, 3, lambda tensor: np.array([3])) == (None, False)
    assert axes_of(node, view, 3, lambda tensor: np.zeros(0, np.int64)) == (None, True)


def test_axes_of_a_reduction_may_be_told():
    graph = opened("y = ReduceSum (x, a)", 13, "float[2, 3, 4] x, int64[1] a")
    node, view = graph.nodes[0], view_of(graph)
    assert read_reduction(node, view) is None
    assert read_reduction(node, view, lambda tensor: np.array([-1])).axes == (2,)
