"""`explain_int8` says what is wrong with a float model that is another one."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.backends.onnxruntime.explain.twin import may_be_same
from planish.ir.core.errors import GraphError
from planish.ir.graph.types import TensorType

from tests.helpers import graph_of

RNG = np.random.default_rng(1)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {"w": normal(6, 3, 3, 3), "v": normal(6, 6, 3, 3), "g": normal(6, 5), "k": normal(6, 4)}
HEAD = "p = GlobalAveragePool(d) f = Flatten(p)"
TEXT = f"""g (float[N, 3, 8, 8] x) => (float[N, 5] y) {{
    c = Conv(x, w) r = Relu(c) d = Conv(r, v) {HEAD} y = MatMul(f, g) }}"""
FEEDS = [{"x": normal(2, 3, 8, 8)} for _ in range(2)]


def network(text):
    return graph_of(text, {name: values for name, values in WEIGHTS.items() if f" {name})" in text})


def quantized():
    return planish.Pipeline.parse("quantize{measure=false}").run(network(TEXT), FEEDS).graph


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("(x, w)", "(z, w)", "8] x)", "8] z)"), r"its inputs are 'z', not 'x'"),
        (("[N, 3, 8, 8]", "[N, 3, 9, 8]"), r"its input 'x' is float32\['N', 3, 9, 8\]"),
        (("[N, 5] y", "[N, 4] y", "(f, g)", "(f, k)"), r"its output 'y' is float32\['N', 4\]"),
        (("[N, 5] y", "[N, 5] out", "y = Mat", "out = Mat"), r"its outputs are 'out', not 'y'"),
    ],
)
def test_a_model_with_other_ports_is_refused(change, message):
    text = TEXT
    for old, new in zip(change[::2], change[1::2], strict=True):
        text = text.replace(old, new)
    with pytest.raises(GraphError, match=message):
        planish.explain_int8(quantized(), network(text), FEEDS, threads=1, most=0)


def test_tensors_of_the_same_names_but_other_shapes_are_not_compared():
    other = network(TEXT.replace("d = Conv(r, v)", "d = Conv <pads = [1, 1, 1, 1]> (r, v)"))
    report = planish.explain_int8(quantized(), other, FEEDS, threads=1, most=0)
    (layer,) = [layer for layer in report.layers if layer.node == "d"]
    assert layer.cumulative is None


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (("N", 3), ("batch", 3), True),
        (("N", 3), (2, 3), True),
        ((2, 3), (1, 3), False),
        ((3,), (1, 3), False),
        (None, (1, 3), True),
    ],
)
def test_what_is_not_known_may_be_the_same(a, b, same):
    assert may_be_same(TensorType(np.dtype("f4"), a), TensorType(np.dtype("f4"), b)) == same


def test_types_differ():
    assert not may_be_same(TensorType(np.dtype("f4"), None), TensorType(np.dtype("i8"), None))
