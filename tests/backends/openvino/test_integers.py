"""Pairs of QuantizeLinear and DequantizeLinear on OpenVINO: its integer kernels, our scales."""

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
