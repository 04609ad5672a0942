"""Arithmetic is quantized among integers alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.helpers import graph_of, ops, reasons, run_pass

RNG = np.random.default_rng(6)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(8, 3, 3, 3),
    "v": normal(5, 8, 1, 1),
    "half": np.array(0.5, np.float32),
    "axes": np.array([1], np.int64),
}
FEEDS = [{"x": normal(2, 3, 8, 8)} for _ in range(4)]
WHY = "it stands among floats: its pairs cost more than it saves"


def quantized(body, options=""):
    named = set(re.findall(r"\w+", body))
    used = {name: values for name, values in WEIGHTS.items() if name in named}
    graph = graph_of(f"g (float[N, 3, 8, 8] x) => (float[] y) {{ {body} }}", used)
    return run_pass(graph, f"quantize{{measure=false,guard=off{options}}}", feeds=FEEDS)


def on_integers(result):
    """Return the operators between pairs."""
    graph = result.graph
    given = {id(t) for n in graph.nodes if n.op == "DequantizeLinear" for t in n.outputs}
    asked = {id(n.inputs[0]) for n in graph.nodes if n.op == "QuantizeLinear"}
    return [
        n.op
        for n in graph.nodes
        if any(id(t) in given for t in n.inputs) and any(id(t) in asked for t in n.outputs)
    ]


FLOAT = "c = Conv(x, w) t = Softplus(c) u = Tanh(t) "


@pytest.mark.parametrize(
    "body",
    [
        FLOAT + "m = Mul(t, u) y = ReduceSum(m, axes)",
        FLOAT + "m = Add(t, u) y = Exp(m)",
        FLOAT + "m = Mul(t, u) a = Add(m, t) y = ReduceSum(a, axes)",
        FLOAT + "s = Sigmoid(u) m = Mul(u, s) y = ReduceSum(m, axes)",
        FLOAT + "l = LeakyRelu(t) y = ReduceSum(l, axes)",
        FLOAT + "g = GlobalAveragePool(u) f = Flatten(g) y = Exp(f)",
        FLOAT + "r = Transpose<perm = [0, 2, 3, 1]>(t) k = Transpose<perm = [0, 2, 3, 1]>(u) "
        "m = Mul(r, k) y = ReduceSum(m, axes)",
        # One operand is there as integers, the other and the result are not.
        "c = Conv(x, w) t = Exp(c) m = Mul(c, t) y = ReduceSum(m, axes)",
    ],
)
def test_arithmetic_among_floats_stays_float(body):
    result = quantized(body)
    assert not set(on_integers(result)) & {
        "Mul",
        "Add",
        "Sigmoid",
        "LeakyRelu",
        "GlobalAveragePool",
    }
    assert WHY in reasons(result)
    assert "QuantizeLinear" in ops(result.graph)  # the convolution


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("c = Conv(x, w) d = Conv(x, w) a = Add(c, d) y = Conv(a, v)", {"Add"}),
        ("c = Conv(x, w) s = Sigmoid(c) m = Mul(c, s) y = Conv(m, v)", {"Sigmoid", "Mul"}),
        ("c = Conv(x, w) l = LeakyRelu(c) y = Conv(l, v)", {"LeakyRelu"}),
        ("c = Conv(x, w) g = GlobalAveragePool(c) y = Conv(g, v)", {"GlobalAveragePool"}),
        # Two operands are there: giving both back to floats takes more than what is behind.
        ("c = Conv(x, w) d = Conv(x, w) a = Add(c, d) y = Exp(a)", {"Add"}),
        (
            "c = Conv(x, w) g = GlobalAveragePool(c) s = Sigmoid(g) m = Mul(c, s) y = Conv(m, v)",
            {"GlobalAveragePool", "Sigmoid", "Mul"},
        ),
    ],
)
def test_arithmetic_among_integers_runs_on_them(body, expected):
    assert expected <= set(on_integers(quantized(body)))


def test_operators_that_are_asked_for_are_taken():
    result = quantized(FLOAT + "m = Mul(t, u) y = ReduceSum(m, axes)", ",operators=[Mul]")
    assert "Mul" in on_integers(result)


def test_a_graph_of_arithmetic_alone_stays_as_it_is():
    result = quantized("t = Softplus(x) u = Tanh(t) a = Mul(t, u) b = Add(a, t) y = Exp(b)")
    assert result.edits == 0
    assert "there is nothing to quantize" in result.records[0].remarks


def test_a_long_chain_among_floats_is_seen_at_once():
    chain = "".join(f"a{i + 1} = Add(a{i}, u) " for i in range(120))
    result = quantized(f"c = Softplus(x) u = Tanh(c) a0 = Exp(u) {chain} y = Exp(a120)")
    assert result.edits == 0


def test_the_product_of_a_gate_in_float_is_float():
    """A HardSwish takes one pair behind it either way; the gate needs no grid of its own."""
    gate = "h = HardSigmoid(c) m = Mul(c, h) e = Conv(m, v) y = Exp(e)"
    result = quantized(f"c = Conv(x, w) {gate}")
    nodes = result.graph.nodes
    assert {n.inputs[0].name for n in nodes if n.op == "QuantizeLinear"} == {"x", "c", "m", "e"}
    assert WHY in reasons(result)
