"""equalize-ranges: the function stays, ranges level out, and what cannot be scaled is left alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.quantize.formats import WEIGHT8
from planish.passes.quantize.grid import grid_of_weights

from tests.helpers import (
    assert_same_function,
    graph_of,
    model_using,
    ops,
    reasons,
    relative_error,
    run_ort,
    run_pass,
)

PASS = "equalize-ranges"
RNG = np.random.default_rng(5)
FACTORS = np.float32([100, 1, 0.01, 10, 3, 0.3, 0.05, 30])


def _normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def _rows(weight):
    """Scale the rows of a weight [M, ...] by very unequal factors."""
    return weight * np.resize(FACTORS, len(weight)).reshape(-1, *[1] * (weight.ndim - 1))


WEIGHTS = {
    "w1": _rows(_normal(8, 3, 3, 3)),
    "b1": _normal(8) * FACTORS,
    "v1": _rows(_normal(8, 3, 1, 1)),
    "dw": _rows(_normal(8, 1, 3, 3)),
    "bd": _normal(8),
    "w2": _normal(4, 8, 1, 1),
    "w2wide": _normal(4, 16, 1, 1),
    "w2half": _normal(4, 4, 1, 1),
    "grouped": _normal(4, 4, 1, 1),
    "up": _normal(8, 4, 2, 2),
    "t1": np.ascontiguousarray(_rows(_normal(8, 3, 2, 2)).swapaxes(0, 1)),
    "flat": _normal(8 * 36, 5),
    "gemm": _normal(5, 8),
    "head": _normal(8, 5),
    "cross": _normal(8, 4),
    "bias5": _normal(5),
    "slope": np.abs(_normal(8, 1, 1)),
    "zero": np.float32(0),
    "six": np.float32(6),
    "vast": np.float32(1e6),
    "minus_vast": np.float32(-1e6),
    "tiny": np.float32(1e-5),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    "crossing": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64),
    "target": np.array([0, -1], np.int64),
    "halves": np.array([4, 4], np.int64),
    "scales": np.float32([1, 1, 2, 2]),
    "wide": np.float32([1, 2, 1, 1]),
    "columns": np.array([0, 8, 36], np.int64),
    "first": np.array([1, 2], np.int64),
}
CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)"
RELU = f"{CONV} r = Relu(c)"
LAST = "y = Conv(r, w2)"

FIRES = {
    "nothing between": f"{CONV} y = Conv(c, w2)",
    "Relu": f"{RELU} {LAST}",
    "LeakyRelu": f"{CONV} r = LeakyRelu <alpha = 0.3> (c) {LAST}",
    "PRelu": f"{CONV} r = PRelu(c, slope) {LAST}",
    "Clip from 0": f"{CONV} r = Clip(c, zero) {LAST}",
    "depthwise": f"{RELU} d = Conv <group = 8> (r, dw, bd) s = Relu(d) y = Conv(s, w2)",
    "grouped": f"{RELU} y = Conv <group = 2> (r, grouped)",
    "MaxPool": f"{CONV} r = MaxPool <kernel_shape = [2, 2]> (c) {LAST}",
    "AveragePool": f"{CONV} r = AveragePool <kernel_shape = [2, 2]> (c) {LAST}",
    "Pad": f"{CONV} r = Pad(c, pads, zero) {LAST}",
    "Resize": f'{CONV} r = Resize <mode = "nearest"> (c, , scales) {LAST}',
    "gate": f"{CONV} p = GlobalAveragePool(c) e = Conv(p, square) g = Sigmoid(e) r = Mul(c, g) {LAST}",
    "Transpose and back": f"{CONV} t = Transpose <perm = [0, 2, 3, 1]> (c) "
    f"u = Relu(t) r = Transpose <perm = [0, 3, 1, 2]> (u) {LAST}",
    "ConvTranspose reads": f"{RELU} y = ConvTranspose <strides = [2, 2]> (r, up)",
    "ConvTranspose makes": f"r = ConvTranspose(x, t1, b1) {LAST}",
    "Concat": f"{RELU} q = Conv <pads = [0, 0, 0, 0]> (x, v1) "
    "k = Concat <axis = 1> (r, q) y = Conv(k, w2wide)",
    "Split": f"{RELU} k, l = Split <axis = 1> (r, halves) a = Conv(k, w2half) "
    "b = Conv(l, grouped) y = Add(a, b)",
    "sum of two": f"{RELU} q = Conv(x, v1) k = Add(r, q) y = Conv(k, w2)",
    "two readers": f"{RELU} a = Conv(r, w2) d = Conv <group = 8> (r, dw) "
    "m = MaxPool <kernel_shape = [4, 4]> (d) n = MaxPool <kernel_shape = [6, 6]> (a) "
    "k = Conv(m, w2) y = Add(k, n)".replace("k = Conv(m, w2)", "k = Conv(m, grouped2)"),
    "Flatten": f"{RELU} f = Flatten(r) y = MatMul(f, flat)",
    "Reshape": f"{RELU} f = Reshape(r, target) y = MatMul(f, flat)",
    "pooled Gemm": f"{RELU} p = GlobalAveragePool(r) f = Flatten(p) "
    "y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (f, gemm, bias5)",
    "ReduceMean": f"{RELU} f = ReduceMean <keepdims = 0> (r, axes) y = MatMul(f, head)",
    "MatMul of rows": f"{RELU} k = Reshape(r, columns) t = Transpose <perm = [0, 2, 1]> (k) "
    "m = MatMul(t, head) y = Add(bias5, m)",
    "MatMul makes": "f = ReduceMean <keepdims = 0> (x, axes) m = MatMul(f, m1) a = Add(m, b1) "
    "r = Relu(a) y = MatMul(r, head)",
}
WEIGHTS |= {
    "square": _normal(8, 8, 1, 1),
    "grouped2": _normal(4, 8, 1, 1),
    "axes": np.array([2, 3], np.int64),
    "m1": np.ascontiguousarray(_rows(_normal(8, 3)).T),
}
FEEDS = [{"x": _normal(2, 3, 6, 6)} for _ in range(3)]
OTHER = {"x": 3 * _normal(2, 3, 6, 6)}


def _model(body, batch="N"):
    return model_using(WEIGHTS, body, f"float[{batch}, 3, 6, 6] x")


@pytest.mark.parametrize("options", ["", "{per-channel=false}", "{activation-bits=16}"])
@pytest.mark.parametrize("body", FIRES.values(), ids=FIRES)
def test_fires_and_keeps_the_function(body, options):
    model = _model(body)
    graph = planish.load(model)
    result = run_pass(graph, PASS + options, feeds=FEEDS)
    assert ops(result.graph) == ops(graph)
    if not options:
        assert result.edits >= 1
    # Nothing here has a bound, so that the function is the same for every input.
    assert_same_function(model, result.graph, OTHER)
    assert_same_function(model, result.graph, {"x": 1e3 * OTHER["x"]})


THROUGH = "its channels go through {}, which does not pass a scale on"
STAYS = {
    "Sigmoid": (f"{CONV} r = Sigmoid(c) {LAST}", THROUGH.format("Sigmoid")),
    "the gate's own channels": (
        f"{CONV} p = GlobalAveragePool(c) g = Sigmoid(p) r = Mul(c, g) {LAST}",
        THROUGH.format("Sigmoid"),
    ),
    "square": (f"{CONV} r = Mul(c, c) {LAST}", THROUGH.format("Mul")),
    "what divides": (f"{CONV} r = Div(six, c) {LAST}", THROUGH.format("Div")),
    "sum with a constant": (f"{CONV} r = Add(c, six) {LAST}", THROUGH.format("Add")),
    "Clip above 0": (f"{CONV} r = Clip(c, tiny) {LAST}", THROUGH.format("Clip")),
    "Pad of ones": (f"{CONV} r = Pad(c, pads, six) {LAST}", THROUGH.format("Pad")),
    "Pad of channels": (
        f"{CONV} r = Pad(c, crossing, zero) y = Conv(r, w29)",
        THROUGH.format("Pad"),
    ),
    "Resize of channels": (
        f'{CONV} r = Resize <mode = "nearest"> (c, , wide) y = Conv(r, w2wide)',
        THROUGH.format("Resize"),
    ),
    "mean of channels": (
        f"{CONV} r = ReduceMean(c, first) y = Conv(r, w21)",
        THROUGH.format("ReduceMean"),
    ),
    "Concat with the input": (
        f"{RELU} k = Concat <axis = 2> (r, r8) y = Conv(k, w2)",
        THROUGH.format("Concat"),
    ),
    "a bound that is reached": (
        f"{CONV} r = Clip(c, zero, tiny) {LAST}",
        "its bound is reached on the feeds",
    ),
}
WEIGHTS |= {
    "w29": _normal(4, 9, 1, 1),
    "w21": _normal(4, 1, 1, 1),
    "r8": _normal(2, 8, 6, 6),
}


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    graph = planish.load(_model(body, batch=2))
    result = run_pass(graph, PASS, feeds=FEEDS)
    assert result.edits == 0
    found = reasons(result) - {"its channels are a graph output"}
    assert found == ({reason} if reason else set())
