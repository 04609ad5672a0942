"""Nodes read as maps scale * x + shift, and chains of them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.decline import DeclinedError
from planish.ir.graph.uses import Uses
from planish.ir.graph.view import View
from planish.ir.ops.linear.affine import (
    Composition,
    affine_below,
    composed,
    is_chained,
    need_zeros_kept,
    read_affine,
    try_affine,
)

from tests.helpers import model_of, run_ort, view_of

G = np.random.default_rng(4)
X = G.standard_normal((2, 3, 4)).astype(np.float32)
CONSTANTS = {
    "c": G.uniform(0.5, 2, (3, 1)).astype(np.float32),
    "one": np.float32(1.5),
    "row": G.uniform(0.5, 2, 4).astype(np.float32),
    "more": np.ones((2, 2, 3, 4), np.float32),
    "whole": np.int64([[1], [2], [3]]),
    "long": np.ones((1 << 16) + 1, np.float32),
    **{name: G.uniform(0.5, 2, 3).astype(np.float32) for name in ("s", "b", "m", "v")},
}


def model(body, opset=13, inputs="float[2, 3, 4] x", outputs="float[] y"):
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}',
        {name: values for name, values in CONSTANTS.items() if name in words},
    )


def opened(body, opset=13, **kwargs):
    graph = planish.load(model(body, opset, **kwargs))
    return graph.nodes, view_of(graph)


BATCHNORM = "y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v)"
MAPS = {
    "Mul": "y = Mul(x, c)",
    "Mul from the left": "y = Mul(c, x)",
    "Div": "y = Div(x, c)",
    "Add": "y = Add(x, c)",
    "Add from the left": "y = Add(c, x)",
    "Sub": "y = Sub(x, c)",
    "Sub from the left": "y = Sub(c, x)",
    "Neg": "y = Neg(x)",
    "one number": "y = Mul(x, one)",
    "BatchNormalization": BATCHNORM,
    "BatchNormalization by default": "y = BatchNormalization (x, s, b, m, v)",
}


@pytest.mark.parametrize("opset", [7, 13, 18])
@pytest.mark.parametrize("kind", MAPS)
def test_a_map_computes_what_the_node_does(kind, opset):
    (node,), view = opened(MAPS[kind], opset)
    found = read_affine(node, view)
    assert (found.node, found.source, found.result) == (node, view.scope.inputs[0], node.outputs[0])
    assert found.is_batchnorm == (node.op == "BatchNormalization")
    assert found.adds == (node.op in ("Add", "Sub", "BatchNormalization"))
    assert found.scale.dtype == found.shift.dtype == np.float64
    expected = run_ort(model(MAPS[kind], opset), {"x": X})["y"]
    for rank, axis in ((3, 1), (3, -2)):
        scale, shift = found.on_channels(rank, axis, 3)
        assert scale.shape == shift.shape == (3,)
        np.testing.assert_allclose(scale[:, None] * X + shift[:, None], expected, rtol=3e-6)


def test_a_batchnorm_says_what_it_gives():
    (node,), view = opened(BATCHNORM)
    found = read_affine(node, view)
    np.testing.assert_array_equal(found.typical, [CONSTANTS["b"], CONSTANTS["s"]])
    assert [part.dtype for part in found.typical] == [np.float64] * 2
    (node,), view = opened("y = Mul(x, c)")
    assert read_affine(node, view).typical is None


NO_MAPS = {
    "another operator": ("y = Relu(x)", {}),
    "no constant": ("y = Add(x, x)", {}),
    "two constants": ("y = Add(c, row)", {"outputs": "float[] y, float[] x"}),
    "c / x": ("y = Div(c, x)", {}),
    "integers": ("y = Mul(x, whole)", {"inputs": "int64[2, 3, 4] x", "outputs": "int64[] y"}),
    "Neg of integers": ("y = Neg(x)", {"inputs": "int64[2] x", "outputs": "int64[] y"}),
    "a map of positions": ("y = Mul(x, long)", {"inputs": "float[2, 65537] x"}),
}


@pytest.mark.parametrize("kind", NO_MAPS)
def test_what_is_no_map(kind):
    body, kwargs = NO_MAPS[kind]
    (node,), view = opened(body, **kwargs)
    assert read_affine(node, view) is None


def test_the_longest_constant_that_is_read():
    CONSTANTS["longest"] = np.ones(1 << 16, np.float32)
    (node,), view = opened("y = Mul(x, longest)", inputs="float[2, 65536] x")
    assert read_affine(node, view) is not None


def test_a_quotient_by_zero_is_infinite_and_no_warning():
    CONSTANTS["nought"] = np.zeros(1, np.float32)
    (node,), view = opened("y = Div(x, nought)")
    with np.errstate(all="raise"):
        assert np.isinf(read_affine(node, view).scale).all()


def test_operands_align_from_opset_7_on():
    (node,), view = opened("y = Add <axis = 1, broadcast = 1> (x, s)", 6)
    assert read_affine(node, view) is None
    other = gs.Node("Mul", inputs=list(node.inputs), outputs=list(node.outputs), domain="other")
    assert read_affine(other, view) is None


@pytest.mark.parametrize(
    ("place", "name"), [("s", "scale"), ("b", "bias"), ("m", "mean"), ("v", "var")]
)
def test_a_batchnorm_that_is_computed_declines(place, name):
    given = ", ".join("t" if each == place else each for each in "sbmv")
    (node,), view = opened(
        f"y = BatchNormalization (x, {given})", inputs="float[2, 3, 4] x, float[3] t"
    )
    with pytest.raises(DeclinedError, match=rf"^its {name} is not constant$"):
        read_affine(node, view)
    assert try_affine(node, view) is None
    assert try_affine(None, view) is None


def test_a_batchnorm_that_trains_declines():
    (node,), view = opened("y = BatchNormalization (x, s, b, m, v)", 6)
    with pytest.raises(DeclinedError, match="training"):
        read_affine(node, view)


def test_on_which_axis_a_batchnorm_has_its_channels():
    (node,), view = opened(BATCHNORM)
    found = read_affine(node, view)
    assert found.on_channels(None, 1, 3) is not None
    assert found.on_channels(4, -3, 3) is not None
    assert found.on_channels(None, -2, 3) is None
    assert found.on_channels(3, 2, 3) is None
    assert found.on_channels(3, 1, 4) is None


@pytest.mark.parametrize(("body", "axis"), [("y = Mul(x, c)", 2), ("y = Add(x, row)", 1)])
def test_constants_along_another_axis_have_no_channels(body, axis):
    (node,), view = opened(body)
    found = read_affine(node, view)
    assert found.on_channels(3, axis, 3) is None
    assert found.on_channels(3, 3 - axis, 3 + (axis == 1)) is not None


CHAIN = "a = Mul(x, c) d = Sub(c, a) e = BatchNormalization (d, s, b, m, v) f = Neg(e) y = Relu(f)"


@pytest.mark.parametrize("bias", [None, [1.0, -2.0, 0.5]])
def test_a_chain_is_one_map(bias):
    nodes, view = opened(CHAIN)
    chain = affine_below(read_affine(nodes[0], view), 3, 1, 3, view)
    assert [each.node for each in chain] == nodes[:4]
    total = composed(chain, 3, 1, 3, None if bias is None else np.array(bias))
    x = X if bias is None else X + np.float32(bias)[:, None]
    shown = CHAIN.replace("y = Relu(f)", "y = Identity(f)")
    expected = run_ort(model(shown), {"x": x})["y"]
    np.testing.assert_allclose(
        total.scale[:, None] * X + total.shift[:, None], expected, rtol=1e-5, atol=1e-5
    )
    scales = [CONSTANTS["c"].reshape(3)]
    scales.append(-scales[0])
    scales.append(scales[1] * CONSTANTS["s"] / np.sqrt(CONSTANTS["v"] + 1e-5))
    scales.append(-scales[2])
    sizes = np.abs([np.ones(3), *scales])
    np.testing.assert_allclose(total.low, sizes.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose(total.high, sizes.max(axis=0), rtol=1e-6)
    center, spread = total.typical  # what Neg makes of what the normalization gives
    np.testing.assert_allclose(center, -CONSTANTS["b"])
    np.testing.assert_allclose(spread, CONSTANTS["s"])


def test_what_a_shift_on_the_way_leaves():
    nodes, view = opened("a = Add(x, c) d = Mul(a, one) e = Add(d, one) f = Mul(e, c) y = Relu(f)")
    total = composed(affine_below(read_affine(nodes[0], view), 3, 1, 3, view), 3, 1, 3)
    c, one = CONSTANTS["c"].reshape(3).astype(np.float64), 1.5
    np.testing.assert_allclose(total.passed, np.maximum(c * one, c * one + one) * c)
    np.testing.assert_allclose(total.shift, (c * one + one) * c)
    assert total.typical is None


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("a = Mul(x, c) y = Relu(a) z = Neg(a)", 1),  # another reader
        ("a = Mul(x, c) d = Mul(a, row) y = Relu(d)", 1),  # along another axis
        ("a = Mul(x, c) d = Add(a, x) y = Relu(d)", 1),
        ("a = Mul(x, c) d = Neg(a) y = Relu(d)", 2),
    ],
)
def test_where_a_chain_ends(body, count):
    outputs = "float[] y, float[] z" if "z =" in body else "float[] y"
    nodes, view = opened(body, outputs=outputs)
    assert len(affine_below(read_affine(nodes[0], view), 3, 1, 3, view)) == count
    follows = "d =" in body
    assert is_chained(nodes[0], view) == follows


def test_a_chain_of_other_channels_is_an_error():
    nodes, view = opened("a = Mul(x, c) y = Relu(a)")
    with pytest.raises(ValueError, match=r"^Mul does not map 4 channels$"):
        composed([read_affine(nodes[0], view)], 3, 2, 4)


@pytest.mark.parametrize(("signed", "adds", "declines"), [(1, 1, 1), (1, 0, 0), (0, 1, 0)])
def test_a_chain_that_adds_zeros_where_they_have_signs(signed, adds, declines):
    graph = planish.load(
        model("a = Mul(x, c) y = Add(a, c)" if adds else "a = Mul(x, c) y = Neg(a)")
    )
    view = View(graph, Uses(graph), lambda tensor: None, signed_zeros=bool(signed))
    chain = [read_affine(node, view) for node in graph.nodes]
    if not declines:
        need_zeros_kept(chain, view)
        return
    with pytest.raises(DeclinedError, match=r"^a sum of zeros would have another sign$"):
        need_zeros_kept(chain, view)


ONE = np.ones(2)


def map_of(scale=ONE, shift=ONE, typical=None, passed=0.0, low=ONE, high=ONE):
    """Return a map of two channels; what is one number stands in the second, beside a small one."""
    return Composition(
        scale=beside_small(scale), shift=beside_small(shift), passed=beside_small(passed),
        typical=None if typical is None else tuple(map(beside_small, typical)),
        low=np.broadcast_to(low, 2), high=np.broadcast_to(high, 2),
    )  # fmt: skip


def beside_small(value):
    return np.array([0.25, value]) if np.ndim(value) == 0 else value


def declines(check, dtype):
    try:
        check(np.dtype(dtype))
    except DeclinedError as reason:
        return str(reason)
    return None


# A shift, what a normalization gives, and the size of the larger of them.
LEFT = {
    "a shift": (-3.0, None, 3),
    "center": (-1.0, (-3.0, 2.0), 3),
    "spread": (1.0, (-2.0, 3.0), 3),
    "a shift beside both": (-3.0, (1.0, 2.0), 3),
}


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize(("dtype", "digits"), [("float16", 1), ("float32", 6), ("float64", 30)])
def test_how_much_a_shift_on_the_way_may_be_larger_than_what_is_left(left, dtype, digits):
    shift, typical, size = LEFT[left]
    most = 2.0**digits * size
    total = map_of(shift=shift, typical=typical, passed=most)
    assert declines(total.need_conditioned, dtype) is None
    total = map_of(shift=shift, typical=typical, passed=np.nextafter(most, np.inf))
    assert "what is left" in declines(total.need_conditioned, dtype)


@pytest.mark.parametrize(
    ("typical", "size"),
    [(None, 1), ((-3.0, 2.0), 3), ((2.0, 3.0), 3), ((0.5, 0.25), 0.5)],
    ids=["of order one", "center", "spread", "small"],
)
@pytest.mark.parametrize(("dtype", "digits"), [("float16", 1), ("float32", 6), ("float64", 30)])
def test_how_large_a_shift_may_be_that_is_moved_behind_a_sum(typical, size, dtype, digits):
    most = 2.0**digits * size
    assert declines(map_of(shift=-most, typical=typical).need_movable, dtype) is None
    total = map_of(shift=-np.nextafter(most, np.inf), typical=typical)
    assert declines(total.need_movable, dtype) == (
        "its shift is so large beside what it gives that rounding would show"
    )


@pytest.mark.parametrize(
    ("low", "high", "scale", "refused"),
    [
        (1, 2.0**33, 1.0, True),
        (1, 2.0**33, -(2.0**33), False),
        (2.0**-33, 1, 1.0, True),
        (2.0**-33, 1, -(2.0**-33), False),
        (2.0**-32, 2.0**32, 1.0, False),
    ],
)
def test_scales_on_the_way_stay_in_the_range_of_the_type(low, high, scale, refused):
    total = map_of(np.array([1.0, scale]), low=np.array([1, low]), high=np.array([1, high]))
    assert (declines(total.need_conditioned, "float32") is not None) == refused
    assert declines(total.need_conditioned, "float64") is None


def test_what_a_normalization_gives_is_scaled_and_shifted_with_it():
    total = map_of().then(ONE, ONE, (np.array([1.0, -2.0]), np.array([0.5, 4.0])))
    center, spread = total.then(-2 * ONE, 5 * ONE, None).typical
    assert (center.tolist(), spread.tolist()) == ([3.0, 9.0], [1.0, 8.0])
    later = (ONE, 3 * ONE)
    assert total.then(-2 * ONE, 5 * ONE, later).typical is later


def test_a_map_that_is_not_finite_is_no_warning():
    with np.errstate(all="raise"):
        total = Composition.of(1e300 * ONE).then(1e300 * ONE, ONE, None)
        assert np.isinf(total.shift).all()
        assert np.isnan(total.then(0 * ONE, ONE, None).shift).all()
