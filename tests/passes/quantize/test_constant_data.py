"""Constants where a tensor is expected: tables that are looked up, tokens, positions."""

from __future__ import annotations

import re

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, ops, run_ort

RNG = np.random.default_rng(11)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "table": normal(12, 6),
    "token": normal(1, 1, 6),
    "image": normal(1, 6, 4, 4),
    "w": normal(6, 6),
    "b": normal(6),
    "v": normal(6, 5),
    "k": normal(6, 6, 3, 3),
    "ax0": np.array([0], np.int64),
    "one": np.array([1], np.int64),
    "two": np.array([2], np.int64),
    "rest": np.array([1, 6], np.int64),
    "wide": np.array([3], np.int64),
    "grid": np.array([-1, 6, 3, 1], np.int64),
    "flat": np.array([0, -1], np.int64),
    "repeat": np.array([1, 3, 1], np.int64),
    "pads": np.array([0, 1, 0, 0, 1, 0], np.int64),
}
LAYERS = "h = MatMul(t, w) g = Add(h, b) r = Relu(g) y = MatMul(r, v)"
# The rows of x are the batch, and say which rows of the table are looked up.
BODIES = {
    "embedding": "ids = Cast<to=7>(x) t = Gather(table, ids) " + LAYERS,
    "class token": (
        "e = Shape(x) n = Slice(e, ax0, one) s = Concat<axis=0>(n, rest) t0 = Expand(token, s) "
        "ids = Cast<to=7>(x) e1 = Gather(table, ids) t = Concat<axis=1>(t0, e1) " + LAYERS
    ),
    "class token as it is": (
        "ids = Cast<to=7>(x) e1 = Gather(table, ids) m = ReduceMean<keepdims=1>(e1, ax0) "
        "t = Concat<axis=1>(token, m) " + LAYERS
    ),
    "positions": (
        "e = Shape(x) n = Slice(e, one, two) p = Slice(table, ax0, n, ax0) "
        "ids = Cast<to=7>(x) q = Gather(table, ids) t = Add(p, q) " + LAYERS
    ),
    "tiled and padded": (
        "a = Tile(token, repeat) d = Pad(a, pads) ids = Cast<to=7>(x) c = Gather(table, ids) "
        "m = ReduceMean<keepdims=1>(c, ax0) t = Concat<axis=1>(d, m) " + LAYERS
    ),
    "transposed": (
        "a = Transpose<perm=[1, 0]>(table) c = Transpose<perm=[1, 0]>(a) ids = Cast<to=7>(x) "
        "t = Gather(c, ids) " + LAYERS
    ),
    "layer of constants alone": (
        "c = Conv<pads=[1, 1, 1, 1]>(image, k, b) m = GlobalAveragePool(c) f = Flatten(m) "
        "ids = Cast<to=7>(x) q = Gather(table, ids) t = Add(f, q) " + LAYERS
    ),
}
FEEDS = [{"x": RNG.integers(0, 12, (2, 3)).astype(np.float32)} for _ in range(16)]
# What they give is read as strings, of which the guard keeps more than 26 dB tell.
PIPELINES = [
    "quantize{measure=false,guard=off}",
    "simplify,equalize-ranges,round-adaptively,quantize{measure=false,guard=off}",
    "round-adaptively,quantize{measure=false,guard=off}",
    "equalize-ranges{per-channel=false},correct-bias,quantize{measure=false,guard=off}",
    "correct-bias{mode=analytic}",
    "quantize{measure=false,guard=off,calibration=entropy,symmetric=true}",
]


def graph_with(body):
    named = set(re.findall(r"\w+", body))
    used = {k: v for k, v in WEIGHTS.items() if k in named}
    return graph_of(f"g (float[N, S] x) => (float[] y) {{ {body} }}", used)


def sqnr(graph, found):
    signal = noise = 0.0
    for feed in FEEDS:
        want = run_ort(planish.to_model(graph), feed)["y"].astype(np.float64)
        have = run_ort(planish.to_model(found, portable=True), feed)["y"]
        signal, noise = signal + (want**2).sum(), noise + ((want - have) ** 2).sum()
    return 10 * np.log10(signal / noise)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_constant_data_is_quantized_like_any_other(pipeline, body):
    graph = graph_with(body)
    result = planish.Pipeline.parse(pipeline).run(graph, FEEDS, strict=True)
    assert sqnr(graph, result.graph) > 26
    if "quantize{" in pipeline:
        assert "QuantizeLinear" in ops(result.graph)
        again = planish.Pipeline.parse(pipeline).run(result.graph, FEEDS, strict=True)
        assert again.edits == 0


@pytest.mark.parametrize("name", ["embedding", "class token", "transposed"])
def test_a_table_is_stored_as_integers(name):
    result = planish.Pipeline.parse(PIPELINES[0]).run(graph_with(BODIES[name]), FEEDS)
    stored = [node.inputs[0] for node in result.graph.nodes if node.op == "DequantizeLinear"]
    held = {t.name: t.values.dtype for t in stored if hasattr(t, "values")}
    assert held["table_quantized"] == np.uint8
    left = {t.name for node in result.graph.nodes for t in node.inputs}
    assert "table" not in left


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_errors_are_explained(body):
    graph = graph_with(body)
    result = planish.Pipeline.parse(PIPELINES[0]).run(graph, FEEDS)
    for original in (None, graph):
        report = planish.explain_int8(result.graph, original, FEEDS, threads=1, most=0)
        assert {layer.op for layer in report.layers} >= {"MatMul", "Gather"}
        # What the model's own floats say differs from it by rounding alone.
        assert all(layer.cumulative > 20 for layer in report.layers if layer.cumulative is not None)
