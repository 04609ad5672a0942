"""A Constant means the same in PyTorch however its value is spelled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

import planish
from planish.ir.core.constant_nodes import dense_of_sparse, dense_value_of_constant_node

from tests.helpers import model_of, relative_error, run_ort


def _sparse(dims, values, indices):
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.array(values, np.float32), "v"),
        numpy_helper.from_array(np.array(indices, np.int64), "i"),
        dims,
    )


def _node(**attributes):
    return helper.make_node("Constant", [], ["k"], **attributes)


FLOATS = {
    "value": numpy_helper.from_array(np.array([0.5, -2.0, 4.0], np.float32), "t"),
    "value_floats": [0.5, -2.0, 4.0],
    "value_float": -2.5,
    "sparse_value": _sparse([3], [4.0, -2.0], [2, 0]),
}
INTEGERS = {"value_int": 1, "value_ints": [2, 0, 1]}

# Where k stands; x is [2, 3]. A quantizer takes k for data, scale or what it multiplies.
BODIES = {
    "operand": "y = Mul(x, k)",
    "data": "q = QuantizeLinear(k, s, z) d = DequantizeLinear(q, s, z) y = Mul(x, d)",
    "two readers": "a = Mul(x, k) y = Sub(a, k)",
}


def _model(node, body, inputs="float[2, 3] x", output="float[] y"):
    weights = {"s": np.float32(0.05), "z": np.int8(3), "w": np.eye(3, dtype=np.float32)}
    used = {name: values for name, values in weights.items() if f"{name}" in body}
    model = model_of(f"g ({inputs}) => ({output}) {{ k = Identity(x) {body} }}", used)
    model.graph.node.remove(model.graph.node[0])
    model.graph.node.insert(0, node)
    return model


X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def _check(model, x=X):
    expected = run_ort(model, {"x": x})["y"]
    module = planish.to_fx(planish.load(model))
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert found.dtype == expected.dtype
    assert relative_error(expected, found) < 1e-6
    back = planish.to_model(planish.from_fx(module), portable=True)
    assert relative_error(expected, run_ort(back, {"x": x})["y"]) < 1e-6


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("spelling", FLOATS)
def test_floats(spelling, body):
    _check(_model(_node(**{spelling: FLOATS[spelling]}), body))


@pytest.mark.parametrize("spelling", ["value", "value_float"])
def test_the_scale_of_a_quantizer(spelling):
    value = numpy_helper.from_array(np.float32(0.03), "t") if spelling == "value" else 0.03
    body = "q = QuantizeLinear(x, k, z) y = DequantizeLinear(q, k, z)"
    _check(_model(_node(**{spelling: value}), body))


@pytest.mark.parametrize("spelling", INTEGERS)
def test_integers(spelling):
    body = "y = Gather <axis = 1> (x, k)"
    _check(_model(_node(**{spelling: INTEGERS[spelling]}), body))


def test_sparse_weights_train():
    model = _model(
        _node(sparse_value=_sparse([3, 3], [1.0, 3.0], [[0, 1], [2, 2]])), "y = MatMul(x, k)"
    )
    # ONNX Runtime knows no sparse operand of MatMul.
    dense = np.zeros((3, 3), np.float32)
    dense[0, 1], dense[2, 2] = 1, 3
    module = planish.to_fx(planish.load(model))
    assert [p.shape for p in module.parameters()] == [(3, 3)]
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach().numpy(), X @ dense, rtol=1e-6)


@pytest.mark.parametrize("attributes", [{"value_string": "a"}, {"value_strings": ["a", "b"]}])
def test_text_is_refused_in_words(attributes):
    model = _model(_node(**attributes), "y = Equal(k, k)", output="bool[] y")
    with pytest.raises(planish.PlanishError, match="its value is text"):
        planish.to_fx(planish.load(model))


def test_sparse_indices_are_linear_or_coordinates():
    expected = np.array([[0, 5, 0], [0, 0, 7]], np.float32)
    for indices in ([1, 5], [[0, 1], [1, 2]]):
        np.testing.assert_array_equal(dense_of_sparse(_sparse([2, 3], [5, 7], indices)), expected)


def test_a_value_of_a_function_call_is_not_known():
    node = (
        planish.load(
            model_of(
                """<ir_version: 9, opset_import: ["" : 18, "f" : 1]>
            g (float[2] x) => (float[2] y) { y = f.Scaled <by = 2.0> (x) }
            <domain: "f", opset_import: ["" : 18]>
            Scaled <by> (a) => (b) { k = Constant <value_float: float = @by> () b = Mul(a, k) }"""
            )
        )
        .functions[0]
        .nodes[0]
    )
    assert dense_value_of_constant_node(node) is None
