"""Pairs of QuantizeLinear and DequantizeLinear on OpenVINO: its integer kernels, our scales."""

import re

import numpy as np
import pytest

import planish

from tests.helpers import graph_of

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'planish[openvino]'")

TEXT = """g (float[N, 3, 16, 16] x) => (float[N, 12, 8, 8] y) {
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
  r = Relu(a)
  d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2], group = 12> (r, v)
  s = HardSwish(d)
  y = Conv <kernel_shape = [1, 1]> (s, u)
}"""


def decibels(expected, found):
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum())


def drawn(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_integers_are_within_a_decibel_of_the_reference():
    rng = np.random.default_rng(0)
    shapes = {"w": (12, 3, 3, 3), "b": (12,), "v": (12, 1, 3, 3), "u": (12, 12, 1, 1)}
    weights = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    graph = graph_of(TEXT, weights)
    feeds = [{"x": rng.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(8)]
    pipeline = planish.Pipeline.parse("quantize{measure=false,guard=off}")
    quantized = pipeline.run(graph, feeds=feeds, verify="off").graph
    x = {"x": drawn(rng, 8, 3, 16, 16)}
    expected = planish.lower(graph, optimization="none")(x)["y"]
    reference = planish.lower(quantized, optimization="none")(x)["y"]
    compiled = planish.lower(quantized, "openvino", threads=1)
    found = compiled(x)["y"]
    assert decibels(expected, found) > decibels(expected, reference) - 1
    assert decibels(expected, reference) < 60  # integers, not floats that round nothing
    layers = compiled.time_layers(x, rounds=1).layers
    assert {layer.dtype for layer in layers if layer.multiply_adds} == {"int8"}


PAIR = "q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)"
OPEN, FIXED = "float[N, 8, H, W]", "float[1, 8, 9, 7]"
COUNTED = "kernel_shape = [3, 3], count_include_pad = 1"

# What OpenVINO by itself would make another function of: sizes, body, and the element type of y.
FUSED = {
    "average over its pads": (OPEN, f"{PAIR} y = AveragePool <{COUNTED}, pads = [1, 1, 0, 1]> (d)"),
    "average over half pads": (
        OPEN,
        f'{PAIR} y = AveragePool <{COUNTED}, strides = [2, 2], auto_pad = "SAME_UPPER"> (d)',
    ),
    "average over a Pad": (
        OPEN,
        f"{PAIR} m = MaxPool <kernel_shape = [2, 2]> (d) p = Pad(m, around)"
        " y = AveragePool <kernel_shape = [3, 3]> (p)",
    ),
    "average of a sum": (
        OPEN,
        f"{PAIR} a = Add(d, s) y = AveragePool <{COUNTED}, pads = [1, 1, 1, 1]> (a)",
    ),
    "Pad of a fraction": (FIXED, f"{PAIR} y = Pad(d, above, half)"),
    "Pad below zero": (FIXED, f"{PAIR} y = Pad(d, above, minus)"),
    "product of channels": (
        OPEN,
        "a = Mul(x, c) q = QuantizeLinear(a, s, z) y = Cast <to = 1> (q)",
    ),
    "sum read before": (
        OPEN,
        "k = Conv(x, w) a = Add(k, c) r = Relu(a) q = QuantizeLinear(r, s, zero)"
        " e = Tanh(k) f = Cast <to = 1> (q) y = Concat <axis = 1> (f, e)",
    ),
    "bias and sizes": (
        OPEN,
        "k = Conv(x, v, bias) q = QuantizeLinear(k, s, z) d = DequantizeLinear(q, s, z)"
        " m, o = Split <axis = 1> (d, halves) j = Concat <axis = 1> (o, m) n = Shape(j)"
        " f = Slice(n, none, one) h = Slice(n, two, four) t = Concat <axis = 0> (f, parts, h)"
        " r = Reshape(j, t) y = Div(r, s)",
    ),
}


@pytest.mark.parametrize("kind", FUSED)
def test_fusions_lose_nothing(kind):
    sizes, body = FUSED[kind]
    rng = np.random.default_rng(3)
    constants = {
        "s": np.float32(0.03),
        "z": np.uint8(140),
        "zero": np.uint8(0),
        "c": drawn(rng, 1, 8, 1, 1),
        "w": drawn(rng, 8, 8, 1, 1),
        "v": drawn(rng, 16, 8, 1, 1),
        "bias": drawn(rng, 16),
        "halves": np.array([8, 8]),
        "half": np.float32(0.5),
        "minus": np.float32(-1.5),
        "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "above": np.array([0, 0, 1, 0, 0, 0, 1, 0]),
        "parts": np.array([4, 4]),
        "none": np.array([0]),
        "one": np.array([1]),
        "two": np.array([2]),
        "four": np.array([4]),
    }
    used = {name: value for name, value in constants.items() if re.search(rf"\b{name}\b", body)}
    graph = graph_of(f"g ({sizes} x) => (float y) {{ {body} }}", used)
    x = {"x": drawn(rng, 1, 8, 9, 7)}
    expected = planish.lower(graph, optimization="none")(x)["y"]
    found = planish.lower(graph, "openvino", threads=1)(x)["y"]
    steps = np.abs(found - expected)
    assert steps.max() <= (1 if "QuantizeLinear(x" not in body else 1e-6)  # of integers, or floats
    assert np.mean(steps > 1e-6) < 0.02  # halves
