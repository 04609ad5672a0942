"""Which form an operator has at an opset, and what follows for clips, broadcasting and training."""

from __future__ import annotations

import re

import numpy as np
import pytest

from planish.ir.ops.axes.named import softmax_axes
from planish.ir.ops.axes.reductions import read_reduction
from planish.ir.ops.clips import clip_bounds
from planish.ir.ops.opsets import (
    aligns,
    broadcasts,
    has_attribute,
    has_operator,
    needs_input,
    takes_type,
    version_of,
)

from tests.helpers import graph_of, model_of, run_ort, view_of

LARGEST = float(np.finfo(np.float32).max)


def opened(body, opset, weights=None, kind="float[2, 3, 4]"):
    """Return the last node of the graph and the view of it."""
    graph = graph_of(text(body, opset, kind), weights)
    return graph.nodes[-1], view_of(graph)


def text(body, opset, kind="float[2, 3, 4]"):
    return (
        f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({kind.partition('[')[0]}[] y) {{ {body} }}"
    )


def test_what_came_when():
    assert [o for o in range(1, 23) if has_operator("LayerNormalization", o)] == [*range(17, 23)]
    assert [o for o in range(1, 14) if has_attribute("DepthToSpace", "mode", o)] == [11, 12, 13]
    assert [o for o in range(1, 14) if needs_input("Gemm", 2, o)] == [*range(1, 11)]
    assert [version_of("Softmax", o) for o in (1, 10, 11, 12, 13, 22)] == [1, 1, 11, 11, 13, 13]
    assert [version_of("LayerNormalization", o) for o in (16, 17)] == [0, 17]
    assert version_of("NoSuchOperator", 22) == 0
    assert not has_operator("NoSuchOperator", 22)
    assert not has_attribute("NoSuchOperator", "axis", 22)
    assert not needs_input("Relu", 3, 22)


@pytest.mark.parametrize(
    ("op", "dtype", "position", "since"),
    [
        ("Pad", np.uint8, 0, 11),
        ("Pad", np.float32, 0, 1),
        ("DequantizeLinear", np.float32, 1, 10),
        ("DequantizeLinear", np.float16, 1, 19),
        ("Relu", np.int32, 0, 14),
    ],
)
def test_types_that_came(op, dtype, position, since):
    found = [opset for opset in range(1, 23) if takes_type(op, dtype, opset, position)]
    assert found == [*range(since, 23)]


def test_when_operands_align_and_broadcast():
    for op in ("Add", "Mul", "Gemm", "PRelu", "Less"):
        assert [opset for opset in range(1, 10) if aligns(op, opset)] == [7, 8, 9]
    assert [opset for opset in range(6, 10) if aligns("Max", opset)] == [6, 7, 8, 9]
    assert [opset for opset in range(6, 10) if broadcasts("Max", opset)] == [8, 9]
    assert not broadcasts("Add", 6)
    assert not broadcasts("NoSuchOperator", 22)


BOUNDS = {"low": np.float32(-2.5), "high": np.float32(3.5), "two": np.ones(2, np.float32)}


@pytest.mark.parametrize(
    ("opset", "body", "expected"),
    [
        (6, "y = Clip <min = -2.5, max = 3.5> (x)", (-2.5, 3.5)),
        (6, "y = Clip <max = 3.5> (x)", (-LARGEST, 3.5)),
        (10, "y = Clip (x)", (-LARGEST, LARGEST)),
        (11, "y = Clip (x, low, high)", (-2.5, 3.5)),
        (13, "y = Clip (x, , high)", (-LARGEST, 3.5)),
        (13, "y = Clip (x, low)", (-2.5, LARGEST)),
        (13, "t = Identity(high) y = Clip (x, low, t)", None),
    ],
)
def test_bounds_of_a_clip(opset, body, expected):
    words = set(re.findall(r"\w+", body))
    used = {name: values for name, values in BOUNDS.items() if name in words}
    assert clip_bounds(*opened(body, opset, used)) == expected
    if expected is not None:
        values = np.array([-np.inf, -LARGEST, -3, 0, 3, 4, LARGEST, np.inf], np.float32)
        found = run_ort(model_of(text(body, opset, "float[8]"), used), {"x": values})["y"]
        assert np.array_equal(found, np.minimum(np.maximum(values, expected[0]), expected[1]))


def test_integers_are_clipped_at_the_ends_of_their_type():
    assert clip_bounds(*opened("y = Clip (x)", 13, kind="int8[3]")) == (-128, 127)
    assert clip_bounds(*opened("y = Identity (x)", 13, kind="bool[3]")) is None


@pytest.mark.parametrize(
    ("opset", "body", "axes"),
    [
        (13, "y = Softmax (x)", [2]),
        (13, "y = Softmax <axis = 0> (x)", [0]),
        (13, "y = LogSoftmax <axis = -2> (x)", [1]),
        (11, "y = Softmax (x)", [1, 2]),
        (11, "y = Softmax <axis = -1> (x)", [2]),
        (9, "y = Softmax <axis = 0> (x)", [0, 1, 2]),
    ],
)
def test_axes_over_which_softmax_adds_up_to_one(opset, body, axes):
    node, view = opened(body, opset)
    assert softmax_axes(node, 3, view.opset) == axes
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    found = run_ort(model_of(text(body, opset)), {"x": x})["y"]
    found = np.exp(found) if node.op == "LogSoftmax" else found
    assert np.allclose(found.sum(tuple(axes)), 1, atol=1e-6)


AXES = {"a1": np.array([1]), "last": np.array([-1]), "none": np.zeros(0, np.int64)}


@pytest.mark.parametrize(
    ("opset", "body", "axes"),
    [
        (13, "y = ReduceSum (x, a1)", (1,)),
        (17, "y = ReduceSum <keepdims = 0> (x, last)", (2,)),
        (13, "y = ReduceSum (x)", (0, 1, 2)),
        (13, "y = ReduceSum (x, none)", (0, 1, 2)),
        (13, "y = ReduceSum <noop_with_empty_axes = 1> (x, none)", ()),
        (18, "y = ReduceMean <noop_with_empty_axes = 1> (x)", ()),
        (18, "y = ReduceMean <keepdims = 0> (x, a1)", (1,)),
        (17, "y = ReduceMean <axes = [0, -1]> (x)", (0, 2)),
        (9, "y = ReduceMax <axes = [1], keepdims = 0> (x)", (1,)),
        (9, "y = ReduceMax (x)", (0, 1, 2)),
    ],
)
def test_axes_of_a_reduction(opset, body, axes):
    used = {name: values for name, values in AXES.items() if f", {name}" in body}
    node, view = opened(body, opset, used)
    found = read_reduction(node, view)
    assert found is not None
    assert found.axes == axes
    assert (found.source, found.rank) == (node.inputs[0], 3)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    reduce = {"ReduceSum": np.sum, "ReduceMean": np.mean, "ReduceMax": np.max}[node.op]
    expected = reduce(x, axis=axes, keepdims=found.keepdims) if axes else x
    result = run_ort(model_of(text(body, opset), used), {"x": x})["y"]
    assert result.shape == expected.shape
    assert np.allclose(result, expected, atol=1e-5)
    for axis in range(3):
        after = found.axis_after(axis)
        assert (after is None) == (axis in axes)
        assert after is None or result.shape[after] == x.shape[axis]
