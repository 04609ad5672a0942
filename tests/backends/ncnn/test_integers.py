"""Pairs of QuantizeLinear and DequantizeLinear on ncnn: its integer layers, the file's scales."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import BackendError

from tests.helpers import graph_of

pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'planish[ncnn]'")

# A grouped layer and one a channel, an operator on integers between, two readers, and a matrix.
TEXT = """g (float[N, 4, 12, 12] x) => (float[N, 5] y) {
  a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
  r = Relu(a)
  p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
  d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 12> (p, v)
  e = Conv <kernel_shape = [1, 1], group = 2> (d, u)
  s = Add(e, p)
  m = GlobalAveragePool(s)
  f = Flatten(m)
  y = Gemm <transB = 1> (f, t, c)
}"""
SHAPES = {
    "w": (12, 4, 3, 3), "b": (12,), "v": (12, 1, 3, 3), "u": (12, 6, 1, 1), "t": (5, 12), "c": (5,),
}  # fmt: skip


def decibels(expected, found):
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum())


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in SHAPES.items()}
    graph = graph_of(TEXT, weights)
    feeds = [{"x": rng.standard_normal((1, 4, 12, 12)).astype(np.float32)} for _ in range(8)]
    return graph, feeds


def quantized(network, options):
    graph, feeds = network
    pipeline = planish.Pipeline.parse(f"quantize{{measure=false,guard=off{options}}}")
    return pipeline.run(graph, feeds=feeds, verify="off").graph


def test_integers_are_within_a_decibel_of_the_reference(network):
    graph, _ = network
    integers = quantized(network, ",activations=int8,symmetric=true")
    x = {"x": np.random.default_rng(1).standard_normal((8, 4, 12, 12)).astype(np.float32)}
    expected = planish.lower(graph, optimization="none")(x)["y"]
    reference = planish.lower(integers, optimization="none")(x)["y"]
    compiled = planish.lower(integers, "ncnn", threads=1)
    found = compiled(x)["y"]
    assert decibels(expected, found) > decibels(expected, reference) - 1
    assert decibels(reference, found) > decibels(expected, reference) + 10
    assert compiled.remarks == ()
    words = [line.split() for line in compiled.files.param.splitlines()]
    layers = [line for line in words if line[0].startswith(("Conv", "Inner"))]
    assert len(layers) == 5  # the grouped one is two: their channels have scales of their own
    assert all("8=2" in line or "8=1" in line for line in layers)


def test_weights_and_scales_are_written_as_the_file_has_them():
    weight = np.arange(-8, 10, dtype=np.int8).reshape(2, 1, 3, 3)
    text = """g (float[1, 1, 4, 4] x) => (float[1, 2, 2, 2] y)
      <float xs = {0.25}, int8 xz = {0}, float[2] ws = {0.5, 0.125}> {
      q = QuantizeLinear(x, xs, xz)
      f = DequantizeLinear(q, xs, xz)
      v = DequantizeLinear <axis = 0> (w, ws)
      y = Conv(f, v)
    }"""
    compiled = planish.lower(graph_of(text, {"w": weight}), "ncnn", threads=1)
    scales = np.array([2, 8], np.float32).tobytes() + np.float32(4).tobytes()
    tag = (0x000D4B38).to_bytes(4, "little")
    assert compiled.files.bin == tag + weight.tobytes() + bytes(2) + scales
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) / 4
    expected = planish.lower(graph_of(text, {"w": weight}), optimization="none")({"x": x})["y"]
    np.testing.assert_allclose(compiled({"x": x})["y"], expected, rtol=1e-6)


def test_zero_points_are_refused_with_what_to_ask_for(network):
    with pytest.raises(BackendError, match=r"zero point \d+ of uint8.*symmetric=true"):
        planish.lower(quantized(network, ""), "ncnn")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("y = DequantizeLinear(q, t, z)", "scale or zero point is not that of its Quantize"),
        ("a = Add(q, q)\n y = DequantizeLinear(a, s, z)", "computes with integers as they are"),
        ("y = Identity(q)", "integers"),
    ],
)
def test_integers_that_are_computed_with_are_refused(node, message):
    kind = "int8" if "Identity" in node else "float"
    text = (
        f"g (float[1, 2] x) => ({kind}[1, 2] y) <float s = {{0.5}}, float t = {{0.25}}, "
        f"int8 z = {{0}}> {{ q = QuantizeLinear(x, s, z)\n {node} }}"
    )
    with pytest.raises(BackendError, match=message):
        planish.lower(graph_of(text), "ncnn")
