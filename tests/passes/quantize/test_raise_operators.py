"""Operators that hold their scales, written as pairs: the same integers on ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.engine.context import Context
from planish.passes.quantize.qdq.raise_operators import raise_operators

from tests.helpers import graph_of, model_of, ops, run_ort

R = np.random.default_rng(0)


def _scales(*shape):
    return R.uniform(0.02, 0.05, shape).astype(np.float32)


def _integers(dtype, *shape):
    """Return any integers of 8 bits; signed ones of 7, products with which saturate nowhere."""
    low, high = (-63, 64) if np.dtype(dtype).kind == "i" else (0, 256)
    return R.integers(low, high, shape).astype(dtype)


WEIGHTS = {
    "s": np.float32(0.05),
    "z": np.uint8(120),
    "t": np.float32(0.04),
    "u": np.uint8(7),
    "t1": np.array([0.5], np.float32),
    "u1": np.array([9], np.uint8),
    "o": np.float32(0.6),
    "w": _integers(np.int8, 4, 3, 3, 3),
    "ws": _scales(4),
    "wz": np.zeros(4, np.int8),
    "b": R.integers(-500, 500, 4).astype(np.int32),
    "m": _integers(np.int8, 9, 5),
    "ms": _scales(5),
    "mz": np.zeros(5, np.int8),
    "k": _integers(np.int8, 6, 27),
    "ks": _scales(6),
    "kz": np.zeros(6, np.int8),
    "kb": R.integers(-500, 500, 6).astype(np.int32),
    "small": np.float32(1 / 256),
    "none": np.uint8(0),
}
MS = "com.microsoft"
SHAPE = "2, 3, 8, 9"
BODIES = {
    "Conv": "y = QLinearConv <pads = [1, 1, 0, 0]> (x, s, z, w, ws, wz, o, z, b)",
    "Conv without a bias": "y = QLinearConv (x, s, z, w, ws, wz, t1, u1)",
    "MatMul": "y = QLinearMatMul (x, s, z, m, ms, mz, o, z)",
    "Add": f"y = {MS}.QLinearAdd (x, s, z, x, t, u, o, z)",
    "Mul": f"y = {MS}.QLinearMul (x, s, z, x, t, u, o, z)",
    "Sigmoid": f"y = {MS}.QLinearSigmoid (x, s, z, small, none)",
    "LeakyRelu": f"y = {MS}.QLinearLeakyRelu <alpha = 0.2> (x, s, z, t, u)",
    "GlobalAveragePool": f"y = {MS}.QLinearGlobalAveragePool (x, s, z, t, u)",
    "AveragePool": f"y = {MS}.QLinearAveragePool <kernel_shape = [2, 2]> (x, s, z, t, u)",
    "Concat": f"y = {MS}.QLinearConcat <axis = 1> (o, z, x, s, z, x, t, u)",
}


def _model(body, inputs=SHAPE, kind="uint8"):
    used = {
        key: held
        for key, held in WEIGHTS.items()
        if f"({key}," in body or f" {key}," in body or f" {key})" in body
    }
    header = f'<ir_version: 8, opset_import: ["" : 17, "{MS}" : 1]>'
    return model_of(f"{header} g (uint8[{inputs}] x) => ({kind}[] y) {{ {body} }}", used)


def _assert_raised(model, operator, feeds, step=1):
    graph = planish.load(model)
    assert len(raise_operators(graph, Context(graph))) == 1
    assert ops(graph).count(operator) == 1
    assert not any(name.startswith("Q") and name != "QuantizeLinear" for name in ops(graph))
    wanted, found = run_ort(model, feeds)["y"], run_ort(planish.to_model(graph), feeds)["y"]
    assert wanted.dtype == found.dtype
    assert np.abs(wanted.astype(float) - found.astype(float)).max() <= step
    assert np.unique(wanted).size > 3


@pytest.mark.parametrize("name", BODIES)
def test_it_gives_the_same_integers(name):
    feeds = {"x": _integers(np.uint8, 2, 3, 8, 9)}
    _assert_raised(_model(BODIES[name]), name.split()[0], feeds)


def test_a_gemm_of_either_result():
    feeds = {"x": _integers(np.uint8, 2, 27)}
    inputs = "x, s, z, k, ks, kz, kb"
    body = f"y = {MS}.QGemm <transB = 1> ({inputs}, o, z)"
    _assert_raised(_model(body, "2, 27"), "Gemm", feeds)
    body = f"y = {MS}.QGemm <transB = 1> ({inputs})"
    _assert_raised(_model(body, "2, 27", "float"), "Gemm", feeds, 1e-3)


def test_what_cannot_be_is_left_alone():
    body = f"y = {MS}.QLinearGlobalAveragePool <channels_last = 1> (x, s, z, t, u)"
    graph = planish.load(_model(body))
    context = Context(graph)
    assert raise_operators(graph, context) == {}
    assert [each.reason for each in context.declined] == ["its channels come last"]
    plain = graph_of("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    assert raise_operators(plain, Context(plain)) == {}
