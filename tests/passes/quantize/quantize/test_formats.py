"""Every number format gives a file that a runtime with its optimizations on loads, and agrees."""

from __future__ import annotations

import re

import numpy as np
import onnxruntime as ort
import pytest

import planish

from tests.helpers import graph_of, ops, relative_error, run_ort

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(4, 3, 3, 3),
    "w2": normal(4, 3, 3, 3),
    "v": normal(5, 4, 3, 3),
    "vv": normal(5, 8, 3, 3),
    "z": normal(5, 4, 1, 1),
    "m": normal(3, 6),
    "q": normal(6, 5),
    "b": normal(6),
    "t": normal(3, 4, 2, 2),
    "low": np.float32(-1),
    "high": np.float32(1),
}
BODIES = {
    "Conv": "c = Conv(x, w) r = Relu(c) y = Conv(r, v)",
    "MatMul": "g = GlobalAveragePool(x) f = Flatten(g) h = MatMul(f, m) y = MatMul(h, q)",
    "Gemm": "g = GlobalAveragePool(x) f = Flatten(g) h = Gemm(f, m, b) r = Relu(h) y = Gemm(r, q)",
    "ConvTranspose": "c = ConvTranspose(x, t) r = Relu(c) y = Conv(r, v)",
    "Add": "c = Conv(x, w) d = Conv(x, w2) s = Add(c, d) y = Conv(s, v)",
    "MaxPool": "c = Conv(x, w) r = MaxPool<kernel_shape = [2, 2]>(c) y = Conv(r, v)",
    "GlobalAveragePool": "c = Conv(x, w) r = GlobalAveragePool(c) y = Conv(r, z)",
    "gate": "c = Conv(x, w) r = Sigmoid(c) p = Mul(c, r) y = Conv(p, v)",
    "Concat": "c = Conv(x, w) d = Conv(x, w2) s = Concat<axis = 1>(c, d) y = Conv(s, vv)",
    "Clip": "c = Conv(x, w) s = Clip(c, low, high) y = Conv(s, v)",
}
ACTIVATIONS = ["int2", "uint2", "int4", "uint4", "int5", "uint7", "int8", "uint8", "uint16"]
FEEDS = [{"x": normal(1, 3, 8, 8)} for _ in range(2)]


def quantized(body, options):
    named = set(re.findall(r"\w+", body))
    used = {name: values for name, values in WEIGHTS.items() if name in named}
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[N, 3, 8, 8] x) => (float[] y)'
    graph = graph_of(f"{text} {{ {body} }}", used)
    pipeline = planish.Pipeline.parse(f"quantize{{measure=false,guard=off,{options}}}")
    return pipeline.run(graph, FEEDS, strict=True)


# Weights of four bits do not ask what activations are, but whether they are wider.
NARROW = {"int2", "uint2", "uint4", "int5", "uint7"}
FORMATS = [
    pytest.param(a, w, marks=pytest.mark.slow if w == "int4" and a in NARROW else ())
    for w in ("int8", "int4")
    for a in ACTIVATIONS
]


@pytest.mark.parametrize(("activations", "weights"), FORMATS)
def test_runtimes_load_what_was_written(activations, weights):
    for name, body in BODIES.items():
        result = quantized(body, f"activations={activations},weights={weights}")
        assert "QuantizeLinear" in ops(result.graph), name
        model = planish.to_model(result.graph, portable=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (found,) = session.run(None, FEEDS[0])
        assert relative_error(run_ort(model, FEEDS[0])["y"], found) < 0.1, name


@pytest.mark.parametrize("activations", ["uint4", "uint7", "uint8", "int6", "int8"])
def test_a_bound_stays_where_storing_does_not_saturate_at_it(activations):
    result = quantized(BODIES["Clip"], f"activations={activations}")
    assert ("Clip" in ops(result.graph)) == (activations not in ("uint8", "int8"))
