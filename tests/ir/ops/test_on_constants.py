"""What operators make of constants, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.ops.on_constants import constant_result

from tests.helpers import graph_of, model_of, run_ort, view_of

VALUES = np.array([-3.0, -0.5, 0.0, 0.75, 8.0])


def text(node, kind="float", opset=20):
    return (
        f'<ir_version: 10, opset_import: ["" : {opset}]> '
        f"g ({kind}[5] x) => ({kind}[5] y) {{ y = {node} }}"
    )


def result_of(node, kind="float", opset=20, values=VALUES, weights=None):
    graph = graph_of(text(node, kind, opset), weights)
    return constant_result(graph.nodes[0], np.asarray(values), view_of(graph))


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        ("Relu(x)", 20),
        ("Sigmoid(x)", 20),
        ("LeakyRelu <alpha = 0.3> (x)", 20),
        ("Elu <alpha = 2.0> (x)", 6),
        ("Clip(x, low, high)", 13),
        ("Clip(x, low)", 13),
        ("Clip <min = -1.0, max = 2.0> (x)", 6),
        ("Neg(x)", 13),
        ("HardSigmoid(x)", 13),
        ("Abs(x)", 13),
    ],
)
def test_elementwise_operators(node, opset):
    limits = {"low": np.float32(-1), "high": np.float32(2)}
    used = {name: value for name, value in limits.items() if name in node}
    model = model_of(text(node, opset=opset), used)
    expected = run_ort(model, {"x": VALUES.astype(np.float32)})["y"]
    found = result_of(node, opset=opset, weights=used)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("node", "kind", "opset", "weights"),
    [
        ("Floor(x)", "float", 20, None),  # it jumps
        ("Softmax(x)", "float", 20, None),
        ("Add(x, x)", "float", 20, None),
        ("Neg(x)", "int32", 20, None),  # it may wrap around
        ("Clip(x, two)", "float", 20, {"two": np.float32([1, 2])}),
        ("NoSuchOperator(x)", "float", 20, None),
    ],
)
def test_what_has_no_result(node, kind, opset, weights):
    assert result_of(node, kind, opset, weights=weights) is None


def test_integers_that_cannot_wrap_have_one():
    assert result_of("Relu(x)", "int32").tolist() == [0, 0, 0, 0.75, 8]
    assert result_of("Clip(x)", "uint8", 13).tolist() == [0, 0, 0, 0.75, 8]


def test_what_is_no_number_stays_none():
    values = [np.nan, np.inf, -np.inf, 2.0, 1000.0]
    with np.errstate(over="ignore", invalid="ignore"):
        found = result_of("Exp(x)", values=values)
    np.testing.assert_array_equal(np.isnan(found), [True, True, False, False, True])
    assert found[2] == 0
