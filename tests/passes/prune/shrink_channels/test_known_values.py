"""What a channel gives wherever it is cut is put into biases behind it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers import graph_of, ops, reasons, run_pass
from tests.passes.prune.shrink_channels.cases import (
    PLAIN,
    normal,
    plain,
    shapes,
    shrink,
    value,
    zeroed,
)


def test_a_known_value_is_put_into_the_bias():
    text = PLAIN.replace("y = Conv<pads = [1, 1, 1, 1]>(c, w2)", "y = Conv(c, w2, b2)")
    weights = plain(w1=zeroed(normal(4, 3, 3, 3), 0, 1), t=np.full(4, 2, np.float32))
    weights["s"], weights["m"] = np.ones(4, np.float32), np.zeros(4, np.float32)
    weights["b2"] = normal(5)
    result = shrink(text, **weights)
    assert shapes(result)["w1"] == [3, 3, 3, 3]
    known = max(weights["b1"][1] / np.sqrt(0.5 + 1e-5) + 2, 0)
    expected = weights["b2"] + weights["w2"][:, 1].sum(axis=(1, 2)) * known
    assert np.allclose(value(result, "b2"), expected, rtol=1e-6)


def test_a_known_value_beside_padding_stays_and_says_why():
    result = shrink(
        PLAIN, **plain(w1=zeroed(normal(4, 3, 3, 3), 0, 1), t=np.full(4, 9, np.float32))
    )
    assert result.edits == 0
    assert reasons(result) == {"its constant channels reach a layer that sees padding beside them"}


def test_a_known_zero_beside_padding_goes():
    result = shrink(
        PLAIN, **plain(w1=zeroed(normal(4, 3, 3, 3), 0, 1), t=np.full(4, -9, np.float32))
    )
    assert shapes(result)["w2"] == [5, 3, 3, 3]


def test_matmul_gets_a_bias_for_what_was_known():
    result = shrink(
        """g (float[N, 3, 2, 2] x) => (float[] y) {
            a = Conv(x, w1, b1)
            b = Flatten<axis = 1>(a)
            y = MatMul(b, w2)
        }""",
        w1=zeroed(normal(3, 3, 1, 1), 0, 1),
        b1=normal(3),
        w2=normal(12, 5),
    )
    assert ops(result.graph) == ["Conv", "Flatten", "MatMul", "Add"]
    assert shapes(result)["w2"] == [8, 5]


def test_a_known_value_inside_a_border_of_zeros_stays():
    result = shrink(
        """g (float[N, 3, 4, 4] x) => (float[] y) {
            a = Conv(x, w1, b1)
            b = Pad(a, pads)
            y = Conv(b, w2)
        }""",
        w1=zeroed(normal(4, 3, 1, 1), 0, 1),
        b1=normal(4),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        w2=normal(5, 4, 3, 3),
    )
    assert result.edits == 0


def test_a_known_value_is_put_into_a_scaled_bias():
    result = shrink(
        """g (float[N, 3] x) => (float[] y) {
            a = Gemm(x, w1, b1)
            y = Gemm<alpha = 0.5, beta = 4.0>(a, w2, b2)
        }""",
        w1=zeroed(normal(3, 4), 1, 1),
        b1=normal(4),
        w2=normal(4, 5),
        b2=normal(5),
    )
    assert shapes(result) == {"w1": [3, 3], "b1": [3], "w2": [3, 5], "b2": [5]}
    expected = normal(5) + 0.5 * normal(4)[1] * normal(4, 5)[1] / 4
    assert np.allclose(value(result, "b2"), expected, rtol=1e-5)


@pytest.mark.parametrize("computed", ["constants", "input"])
def test_pads_that_are_computed(computed):
    """From constants they are known; from an input nothing goes that they may spoil."""
    w, u = normal(6, 2, 3, 3), normal(3, 6, 3, 3)
    w[[1, 4]] = 0
    u[:, [1, 4]] = 0
    halves = {"a": np.array([0, 0, 1, 1]), "b": np.array([0, 0, 1, 1])}
    given = "" if computed == "constants" else ", int64[4] c"
    first = "a" if computed == "constants" else "c"
    graph = graph_of(
        f"""g (float[N, 2, 7, 7] x{given}) => (float[] y) {{
            p = Concat <axis = 0> ({first}, b) q = Conv(x, w) r = Pad(q, p) y = Conv(r, u) }}""",
        {"w": w, "u": u} | halves,
    )
    feed = {"x": normal(2, 2, 7, 7)}
    if computed == "input":
        feed["c"] = halves["a"]
    result = run_pass(graph, "shrink-channels{measure=false}", feeds=[feed])
    left = 4 if computed == "constants" else 6
    convolutions = [node for node in result.graph.nodes if node.op == "Conv"]
    assert [node.inputs[1].shape[0] for node in convolutions] == [left, 3]
