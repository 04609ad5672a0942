"""Pairs and stored weights as they are found in a graph, whoever put them there."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.ops.quantization.nodes import dequantizer, quantizer
from planish.ir.ops.quantization.pairs import channel_scale, find_pairs
from planish.ir.ops.quantization.weights import stored_weight, weight_scale, weight_values

from tests.helpers import graph_of, view_of

PARAMETERS = {"s": np.float32(0.5), "z": np.uint8(3)}
WEIGHTS = {
    "w_q": np.array([[1, -2, 3], [4, 5, -6]], np.int8),
    "w_s": np.array([0.5, 0.25], np.float32),
    "w_z": np.array([1, -1], np.int8),
    "w": np.array([[0.6, -1.2, 90], [0.3, 1.1, -90]], np.float32),
    "blocks": np.array([[0.5], [0.25]], np.float32),
}
STORED = np.array([[0, -1.5, 1], [1.25, 1.5, -1.25]], np.float32)


def opened(body, weights, opset=21):
    graph = graph_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]> '
        f"g (float[2, 3] x) => (float[2, 3] y) {{ {body} }}",
        weights,
    )
    return view_of(graph)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", 1),
        (
            "q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z) "
            "b = DequantizeLinear(q, s, z) y = Add(a, b)",
            2,
        ),
        ("q = QuantizeLinear(x, s, z) c = Cast <to = 1>(q) y = Mul(c, s)", 0),
        (
            "q = QuantizeLinear(x, s, z) a = DequantizeLinear(q, s, z) "
            "c = Cast <to = 1>(q) y = Add(a, c)",
            0,
        ),
    ],
    ids=["pair", "two-readers", "no-dequantizer", "another-reader"],
)
def test_pairs_are_found_by_structure(body, count):
    view = opened(body, PARAMETERS)
    found = list(find_pairs(view))
    assert [len(pair.dequantizers) for pair in found] == ([count] if count else [])
    for pair in found:
        assert pair.source is view.scope.inputs[0]
        known = pair.constants(view)
        assert (known.scale, known.zero_point, known.integer_type) == (0.5, 3, np.uint8)
        assert quantizer(pair.source, view) is pair.quantizer
        assert dequantizer(pair.dequantizers[0].outputs[0], view) is pair.dequantizers[0]


def test_constants_that_are_quantized_are_weights_and_no_pairs():
    body = "q = QuantizeLinear(w, s, z) d = DequantizeLinear(q, s, z) y = Add(x, d)"
    assert list(find_pairs(opened(body, PARAMETERS | {"w": WEIGHTS["w"]}))) == []


def weight_of(body, *names):
    view = opened(f"{body} y = Add(x, d)", {name: WEIGHTS[name] for name in names})
    return view.scope.nodes[-1].inputs[1], view


def test_integers_with_a_scale_for_each_row():
    tensor, view = weight_of("d = DequantizeLinear <axis = -2>(w_q, w_s, w_z)", "w_q", "w_s", "w_z")
    found = stored_weight(tensor, view)
    np.testing.assert_array_equal(found.values, STORED)
    np.testing.assert_array_equal(weight_values(tensor, view), STORED)
    np.testing.assert_array_equal(weight_scale(tensor, view), WEIGHTS["w_s"])
    assert (found.original, found.limits) == (None, (-128, 127))
    np.testing.assert_array_equal(found.rounded(STORED + 0.1), STORED)


def test_floats_behind_a_pair_are_rounded_and_kept():
    body = "q = QuantizeLinear <axis = 0>(w, w_s, w_z) d = DequantizeLinear <axis = 0>(q, w_s, w_z)"
    tensor, view = weight_of(body, "w", "w_s", "w_z")
    found = stored_weight(tensor, view)
    # Saturated: 0.5 (127 - 1) and 0.25 (-128 + 1).
    np.testing.assert_array_equal(found.values, [[0.5, -1, 63], [0.25, 1, -31.75]])
    np.testing.assert_array_equal(found.original, WEIGHTS["w"])
    assert weight_values(tensor, view) is None  # the pair may be moved; its integers are not there


def test_blocks():
    tensor, view = weight_of(
        "d = DequantizeLinear <axis = 1, block_size = 3>(w_q, blocks)", "w_q", "blocks"
    )
    expected = WEIGHTS["w_q"] * WEIGHTS["blocks"]
    np.testing.assert_array_equal(stored_weight(tensor, view).values, expected)
    assert weight_values(tensor, view) is None


def test_what_is_computed_is_no_weight():
    view = opened("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", PARAMETERS)
    for tensor in (*view.scope.inputs, *view.scope.outputs):
        assert stored_weight(tensor, view) is None
        assert weight_values(tensor, view) is None
        assert weight_scale(view.scope.inputs[0], view) is None


@pytest.mark.parametrize(
    ("readers", "expected"),
    [
        ("d = DequantizeLinear(q, c, z) y = Neg(d)", [2.0, 4.0, 6.0]),
        ("d = DequantizeLinear(q, c, z) i = Cast <to = 1>(q) y = Add(d, i)", [2.0, 4.0, 6.0]),
        ("i = Cast <to = 1>(q) y = Neg(i)", None),
        ("y = Neg(x)", None),
    ],
)
def test_scales_of_channels_are_those_of_what_reads_integers(readers, expected):
    weights = {"s": np.float32(0.5), "c": np.float32([1, 2, 3]), "z": np.uint8([3, 3, 3])}
    view = opened(f"q = QuantizeLinear(x, s) {readers}", weights)
    found = channel_scale(view.scope.inputs[0], view)
    assert (None if found is None else found.tolist()) == expected


def test_scales_of_channels_do_not_ask_for_the_rank():
    """Behind a Loop or a Reshape to computed sizes nobody knows it."""
    graph = graph_of(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (float[] x) => (float[] y) {
            q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, c, z) }""",
        {"s": np.float32([1, 1]), "c": np.float32([2, 3]), "z": np.uint8([0, 0])},
    )
    graph.inputs[0].shape = None
    view = view_of(graph)
    assert view.rank(graph.inputs[0]) is None
    assert channel_scale(graph.inputs[0], view).tolist() == [2, 3]
