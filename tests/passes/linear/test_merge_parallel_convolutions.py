"""Parallel linear branches that are added become one operator; what does not fit stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import Array, assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.linear import PARALLEL

PASS = "merge-parallel-convolutions"
G = np.random.default_rng(3)


def _w(*shape: int, kind: str = "float32") -> Array:
    return (G.standard_normal(shape) * np.prod(shape[1:]) ** -0.5).astype(kind)


WEIGHTS = {
    "k1": _w(6, 6, 1, 1),
    "k3": _w(6, 6, 3, 3),
    "k3b": _w(6, 6, 3, 3),
    "k5": _w(6, 6, 5, 5),
    "k13": _w(6, 6, 1, 3),
    "k31": _w(6, 6, 3, 1),
    "k4": _w(4, 6, 3, 3),
    "one": _w(1, 6, 3, 3),
    "g3": _w(6, 2, 3, 3),
    "g2": _w(6, 3, 1, 1),
    "d3": _w(6, 1, 3, 3),
    "d1": _w(6, 1, 1, 1),
    "m1": _w(12, 1, 1, 1),
    "m3": _w(12, 1, 3, 3),
    "b": _w(6),
    "b2": _w(6),
    "s": _w(6),
    "t": _w(6),
    "mean": _w(6),
    "var": G.uniform(0.1, 2, 6).astype(np.float32),
    "cs": _w(6, 1, 1),
    "ch": np.array([1]),
    "k2": _w(6, 6, 2, 2),
    "k16": _w(6, 1, 3, 3),
    "full": _w(6, 9, 9),
    "scalar": np.float32(-1.5),
}
P1 = "pads = [1, 1, 1, 1]"
BN = "BatchNormalization <epsilon = 0.01> ({}, s, t, mean, var)"
C3 = f"c = Conv <{P1}> (x, k3, b)"
C1 = "e = Conv (x, k1, b2)"

# name: body giving y, and the operators left
FIRES = {
    "3x3 + 1x1": (f"{C3} {C1} y = Add(c, e)", ["Conv"]),
    "1x1 + 3x3": (f"{C1} {C3} y = Add(e, c)", ["Conv"]),
    "RepVGG": (f"{C3} {C1} i = {BN.format('x')} q = Add(c, e) y = Add(q, i)", ["Conv"]),
    "RepVGG, other order": (
        f"i = {BN.format('x')} {C3} q = Add(i, c) {C1} y = Add(e, q)",
        ["Conv"],
    ),
    "a difference": (f"{C3} {C1} y = Sub(c, e)", ["Conv"]),
    "a difference, the smaller first": (f"{C3} {C1} y = Sub(e, c)", ["Conv"]),
    "a difference from the identity": (f"{C3} y = Sub(x, c)", ["Conv"]),
    "the identity taken away": (f"{C3} y = Sub(c, x)", ["Conv"]),
    "RepMixer": (f"{C3} {C1} i = {BN.format('x')} q = Add(c, e) y = Sub(q, i)", ["Conv"]),
    "a difference of differences": (
        f"{C3} {C1} l = Sub(x, c) q = Sub(cs, e) y = Sub(l, q)", ["Conv"]),
    "what is left is subtracted": (
        f"{C3} {C1} r = Relu(x) h = Sin(x) q = Sub(c, r) p = Sub(e, h) y = Add(q, p)",
        ["Relu", "Sin", "Conv", "Sub", "Sub"]),
    "RepVGG with Sum": (f"{C3} {C1} i = {BN.format('x')} y = Sum(i, c, e)", ["Conv"]),
    "identity": (f"{C3} y = Add(x, c)", ["Conv"]),
    "identity twice": (f"{C3} q = Add(x, c) y = Add(q, x)", ["Conv"]),
    "identity on 1x1": ("c = Conv (x, k1) y = Add(c, x)", ["Conv"]),
    "scaled by channel": (f"{C3} i = Mul(cs, x) y = Add(i, c)", ["Conv"]),
    "scaled by a number": (f"{C3} i = Mul(x, scalar) y = Add(i, c)", ["Conv"]),
    "divided": (f"{C3} i = Div(x, cs) y = Add(i, c)", ["Conv"]),
    "negated": (f"{C3} i = Neg(x) y = Add(i, c)", ["Conv"]),
    "affine chain": (
        f"{C3} i = Mul(x, cs) j = Sub(scalar, i) k = {BN.format('j')} y = Add(k, c)",
        ["Conv"],
    ),
    "constant by channel": (f"{C3} {C1} q = Add(c, cs) y = Add(q, e)", ["Conv"]),
    "no bias": (f"c = Conv <{P1}> (x, k3) e = Conv (x, k1) y = Add(c, e)", ["Conv"]),
    "5x5 + 3x3 + 1x1": (
        f"{C3} {C1} f = Conv <pads = [2, 2, 2, 2]> (x, k5) y = Sum(e, c, f)",
        ["Conv"],
    ),
    "ACNet": (
        f"{C3} f = Conv <pads = [0, 1, 0, 1]> (x, k13) h = Conv <pads = [1, 0, 1, 0]> (x, k31)"
        "q = Add(f, h) y = Add(q, c)",
        ["Conv"],
    ),
    "strided": (
        f"c = Conv <{P1}, strides = [2, 2]> (x, k3) e = Conv <strides = [2, 2]> (x, k1)"
        "y = Add(c, e)",
        ["Conv"],
    ),
    "dilated": (
        "c = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (x, k3, b)"
        f"{C1} y = Sum(c, x, e)",
        ["Conv"],
    ),
    "no pads, off centre": (
        "c = Conv <pads = [2, 2, 0, 0]> (x, k3) e = Conv (x, k1) y = Add(c, e)",
        ["Conv"],
    ),
    "auto_pad": (
        'c = Conv <auto_pad = "SAME_UPPER"> (x, k3) e = Conv <auto_pad = "VALID"> (x, k1)'
        "y = Add(c, e)",
        ["Conv"],
    ),
    "groups": (f"c = Conv <{P1}, group = 3> (x, g3) y = Add(c, x)", ["Conv"]),
    "MobileOne": (
        f"c = Conv <{P1}, group = 6> (x, d3) e = Conv <group = 6> (x, d1) i = {BN.format('x')}"
        "y = Sum(c, e, i)",
        ["Conv"],
    ),
    "depthwise with a multiplier": (
        f"c = Conv <{P1}, group = 6> (x, m3) e = Conv <group = 6> (x, m1) q = Add(c, e)"
        "y = Conv (q, k12)",
        ["Conv", "Conv"],
    ),
    "depthwise under dense": (
        f"{C3} e = Conv <{P1}, group = 6> (x, d3) f = Conv <group = 2> (x, g2) y = Sum(e, c, f)",
        ["Conv"],
    ),
    "average pool": (
        f"{C3} e = AveragePool <kernel_shape = [3, 3], {P1}, count_include_pad = 1> (x)"
        "y = Add(c, e)",
        ["Conv"],
    ),
    "normalized average pool": (
        f"c = Conv (x, k3) e = AveragePool <kernel_shape = [3, 3]> (x) f = {BN.format('e')}"
        "q = Add(c, f) y = ConvTranspose (q, back)",
        ["Conv", "ConvTranspose"],
    ),
    "a third term stays": (f"{C3} r = Relu(x) q = Add(c, r) {C1} y = Add(e, q)",
                           ["Relu", "Conv", "Add"]),
    "two pairs, two tensors": (
        f"r = Relu(x) {C3} {C1} f = Conv <{P1}> (r, k3b) h = Conv (r, k1) y = Sum(c, f, h, e)",
        ["Relu", "Conv", "Conv", "Add"],
    ),
    "a map by position stays": (f"{C3} {C1} q = Add(c, full) y = Add(e, q)", ["Conv", "Add"]),
    "1x3 takes the 1x1, 3x1 stays": (
        "f = Conv <pads = [0, 1, 0, 1]> (x, k13) h = Conv <pads = [1, 0, 1, 0]> (x, k31)"
        f"{C1} y = Sum(f, h, e)",
        ["Conv", "Conv", "Add"],
    ),
    "the next block": (
        f"{C3} {C1} q = Add(c, e) r = Relu(q)"
        f"f = Conv <{P1}> (r, k3b) h = Conv (r, k1) u = Sum(f, h) y = Add(u, r)",
        ["Conv", "Relu", "Conv"],
    ),
}  # fmt: skip
MORE = {"k12": _w(6, 12, 1, 1), "back": _w(6, 6, 3, 3)}


def _model(body, kind="float[N, 6, 9, 9]", opset=20, weights=None):
    held = {**WEIGHTS, **MORE} if weights is None else weights
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({kind.partition('[')[0]}[] y) {{ {body} }}",
        {name: values for name, values in held.items() if name in words},
    )


def _feeds(batch=2, seed=0):
    x = np.random.default_rng(seed).standard_normal((batch, 6, 9, 9))
    return {"x": x.astype(np.float32)}


@pytest.mark.parametrize("kind", ["float[N, 6, 9, 9]", "float[2, 6, 9, 9]"])
@pytest.mark.parametrize(("body", "left"), FIRES.values(), ids=FIRES)
def test_fires(body, left, kind):
    model = _model(body, kind)
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == sorted(left)
    assert_same_function(model, result.graph, _feeds())


def test_a_rep_mixer_is_one_convolution():
    """x + scale * (mixer(x) - norm(x)), as FastViT trains it."""
    mixed = f"{C3} {C1} j = {BN.format('x')} q = Sum(c, e, j)"
    model = _model(f"{mixed} i = {BN.format('x')} d = Sub(q, i) r = Mul(d, cs) y = Add(x, r)")
    result = run_pass(planish.load(model), f"repeat({PASS},fold-affine)")
    assert ops(result.graph) == ["Conv"]
    assert_same_function(model, result.graph, _feeds())


def test_the_merged_convolution_is_what_the_papers_say():
    """3x3 with the 1x1 and the identity on its centre tap, biases added up."""
    model = _model(f"{C3} {C1} y = Sum(x, c, e)")
    (node,) = run_pass(planish.load(model), PASS).graph.nodes
    expected = WEIGHTS["k3"].astype(np.float64)
    expected[:, :, 1, 1] += WEIGHTS["k1"][:, :, 0, 0] + np.eye(6)
    np.testing.assert_array_equal(node.inputs[1].values, expected.astype(np.float32))
    np.testing.assert_allclose(node.inputs[2].values, WEIGHTS["b"] + WEIGHTS["b2"], rtol=1e-6)
    assert node.attrs["pads"] == [1, 1, 1, 1]


OTHERS = "the result of Conv has other readers"
STAYS = {
    "two tensors": (f"{C3} r = Relu(x) e = Conv (r, k1) y = Add(c, e)", None),
    "a residual over two convolutions": (f"{C3} e = Conv (c, k1) y = Add(e, x)", None),
    "1x3 + 3x1": (
        "f = Conv <pads = [0, 1, 0, 1]> (x, k13) h = Conv <pads = [1, 0, 1, 0]> (x, k31)"
        "y = Add(f, h)",
        "one kernel would multiply 324 times at each position, the branches 216 times",
    ),
    "dense 1x1 + depthwise 3x3": (
        f"{C1} c = Conv <{P1}, group = 6> (x, d3) y = Add(c, e)",
        "one kernel would multiply 324 times at each position, the branches 90 times",
    ),
    "different strides of one size": (
        "c = Conv <strides = [3, 3]> (x, k3) f = Conv <strides = [4, 4]> (x, k1) y = Add(c, f)",
        "the branches have different strides",
    ),
    "dilations": (
        f"{C3} e = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (x, k3b) y = Add(c, e)",
        "the branches have different dilations",
    ),
    "off the dilated grid": (
        "c = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (x, k3)"
        "e = Conv <pads = [1, 1, 1, 1], dilations = [2, 2]> (x, k2) y = Add(c, e)",
        "the branches' taps do not lie on one grid",
    ),
    "broadcast channels": (
        f"{C3} e = Conv <{P1}> (x, one) y = Add(c, e)",
        "the branches have different numbers of channels",
    ),
    "identity of other channels": (
        f"u = ReduceMean <keepdims = 1> (x, ch) c = Conv <{P1}> (u, k16) y = Add(c, u)",
        "the branch adds 1 channels and Conv gives 6",
    ),
    "read twice": (f"{C3} {C1} q = Add(c, e) y = Mul(q, c)", OTHERS),
    "added to itself": (f"{C3} y = Add(c, c)", OTHERS),
    "the sum is read": (f"{C3} {C1} r = Relu(c) q = Add(r, e) y = Mul(q, r)", None),
    "weight from outside": (
        f"k = Relu(k1) {C3} e = Conv (x, k) y = Add(c, e)",
        "the weight of Conv is not constant",
    ),
    "ceil_mode": (
        f"{C3} e = AveragePool <kernel_shape = [3, 3], {P1}, count_include_pad = 1, ceil_mode = 1>"
        "(x) y = Add(c, e)",
        "the pool rounds its size up (ceil_mode)",
    ),
    "a mean without the pads": (
        f"{C3} e = AveragePool <kernel_shape = [3, 3], {P1}> (x) y = Add(c, e)",
        "the pool leaves out pads in its mean (count_include_pad=0)",
    ),
    "a pool wider than the kernel": (
        "c = Conv (x, k1) e = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1],"
        "count_include_pad = 1> (x) y = Add(c, e)",
        "one kernel would multiply 324 times at each position, the branches 36 times",
    ),
    "scaled by position": (
        f"{C3} i = Mul(x, full) y = Add(c, i)",
        "the branch's Mul is no map by channel",
    ),
    "a gate": (
        f"{C3} r = Sigmoid(x) i = Mul(x, r) y = Add(c, i)",
        "the branch's Mul is no map by channel",
    ),
    "a ConvTranspose": (
        f"{C3} e = ConvTranspose <{P1}> (x, back) y = Add(c, e)",
        "a ConvTranspose has no window that others could share",
    ),
    "no map": (f"{C3} r = Relu(x) y = Add(c, r)", None),
    "a map read twice": (f"{C3} i = Mul(x, cs) j = Neg(i) q = Add(c, j) y = Mul(q, i)", None),
    "five maps": (
        f"{C3} i = Mul(x, cs) j = Mul(i, cs) k = Mul(j, cs) l = Mul(k, cs) m = Mul(l, cs)"
        "y = Add(c, m)",
        None,
    ),
    "a pool of a scaled input": (
        f"{C3} i = Mul(x, cs) e = AveragePool <kernel_shape = [1, 1]> (i) y = Add(c, e)",
        "a pool of a scaled input",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    model = _model(body)
    graph = planish.load(model)
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ops(graph)
    assert reasons(result) == ({reason} if reason else set())


SAME = (
    'c = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, k3)'
    "e = Conv <strides = [2, 2]> (x, k1) y = Add(c, e)"
)
UNEVEN = (
    "c = Conv <pads = [0, 0, 1, 1], strides = [2, 2]> (x, k3)"
    "e = Conv <strides = [2, 2]> (x, k1) y = Add(c, e)"
)


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (SAME, "float[N, 6, 10, 10]", None),
        (UNEVEN, "float[N, 6, 10, 10]", None),
        (
            UNEVEN,
            "float[N, 6, H, W]",
            "the branches' results differ in size, or may for some input",
        ),
        (SAME, "float[N, 6, H, W]", "auto_pad=SAME_UPPER on a dynamic size"),
    ],
)
def test_uneven_pads_need_a_static_size(body, kind, reason):
    """TensorFlow pads the end alone: the sizes agree for an even input, not for an odd one."""
    model = _model(body, kind)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == (["Conv"] if reason is None else ["Conv", "Conv", "Add"])
    assert reasons(result) == ({reason} if reason else set())
    x = np.random.default_rng(5).standard_normal((2, 6, 10, 10)).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})


def test_dynamic_height_and_width():
    model = _model(f"{C3} {C1} i = {BN.format('x')} y = Sum(c, e, i)", "float[N, 6, H, W]")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    for size in ((1, 6, 3, 8), (2, 6, 1, 1)):
        x = np.random.default_rng(5).standard_normal(size).astype(np.float32)
        assert_same_function(model, result.graph, {"x": x})


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_dimensions(rank):
    weights = {
        "k3": _w(4, 4, *[3] * rank),
        "k1": _w(4, 4, *[1] * rank),
        **{name: WEIGHTS[name][:4] for name in ("s", "t", "mean", "var")},
    }
    size = (2, 4, 7, 6, 5)[: rank + 2]
    model = _model(
        f"c = Conv <pads = {[1] * 2 * rank}> (x, k3) e = Conv (x, k1) i = {BN.format('x')}"
        "q = Add(c, i) y = Add(q, e)",
        f"float{list(size)}",
        weights=weights,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    x = np.random.default_rng(2).standard_normal(size).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})


A, B, VECTOR = _w(5, 5), _w(5, 5), _w(5)
MATRICES = {
    "two products": ("p = MatMul(x, a) q = MatMul(x, b) y = Add(p, q)", ["MatMul"]),
    "a difference": ("p = MatMul(x, a) q = MatMul(x, b) y = Sub(p, q)", ["MatMul"]),
    "identity": ("p = MatMul(x, a) y = Add(p, x)", ["MatMul"]),
    "scaled": ("p = MatMul(x, a) q = Mul(x, v) y = Add(p, q)", ["MatMul"]),
}
FLAT = {
    "bias": ("p = MatMul(x, a) q = Add(p, v) r = MatMul(x, b) y = Add(q, r)", ["Gemm"]),
    "Gemm": (
        "p = Gemm <alpha = 0.5, beta = 2.0> (x, a, v) q = Gemm <transB = 1> (x, b) y = Add(p, q)",
        ["Gemm"],
    ),
    "Gemm + MatMul + x": ("p = Gemm(x, a, v) q = MatMul(x, b) y = Sum(p, q, x)", ["Gemm"]),
    "MatMul + Gemm": ("p = MatMul(x, a) q = Gemm <transB = 1> (x, b, v) y = Sum(p, q)", ["Gemm"]),
}


@pytest.mark.parametrize(
    ("body", "left", "size"),
    [
        *[(*case, size) for case in MATRICES.values() for size in ((3, 5), (2, 3, 5))],
        *[(*case, (3, 5)) for case in FLAT.values()],
        (FLAT["bias"][0], ["Add", "MatMul"], (2, 3, 5)),
    ],
)
def test_matrices(body, left, size):
    model = _model(body, f"float{list(size)}", weights={"a": A, "b": B, "v": VECTOR})
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == left
    x = np.random.default_rng(2).standard_normal(size).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})


CANCELS = "what it adds is so large beside what is left that rounding would show"
SCALED = "j = Sub(i, near) l = Mul(j, scalar)"


@pytest.mark.parametrize(
    ("body", "kind", "edits"),
    [
        # A weight tells the rank of an image, and not that of what a MatMul reads.
        (f"{C3} i = Mul(cs, x) y = Add(i, c)", "float[]", 1),
        ("p = MatMul(x, a) q = Mul(x, v3) y = Add(p, q)", "float[2, 3, 5]", 1),
        # A shift of 1000 in between is too much beside 1, unless what passes by is as large.
        (f"{C3} i = Add(x, far) {SCALED} y = Add(l, c)", "float[N, 6, 9, 9]", 0),
        (
            f"{C3} i = BatchNormalization (x, large, large, zero, unit) {SCALED}y = Add(l, c)",
            "float[N, 6, 9, 9]",
            1,
        ),
    ],
)
def test_maps_by_channel_that_are_taken_in(body, kind, edits):
    weights = {
        **WEIGHTS,
        "a": A,
        "v3": VECTOR.reshape(1, 1, 5),
        "far": np.float32(1001),
        "near": np.float32(1000),
        "large": np.full(6, 1001, np.float32),
        "zero": np.zeros(6, np.float32),
        "unit": np.ones(6, np.float32),
    }
    result = run_pass(planish.load(_model(body, kind, weights=weights)), PASS)
    assert result.edits == edits
    assert reasons(result) == (set() if edits else {CANCELS})


def test_a_map_of_another_domain_stays():
    """Its name says nothing."""
    model = _model(f"{C3} i = other.Mul(x, cs) y = Add(c, i)", opset='20, "other" : 1')
    result = run_pass(planish.load(model), PASS, verify="off")
    assert result.edits == 0
    assert not reasons(result)


def test_a_transposed_input_stays():
    model = _model("p = Gemm <transA = 1> (x, a) y = Add(p, x)", "float[5, 5]", weights={"a": A})
    result = run_pass(planish.load(model), PASS)
    assert reasons(result) == {"its Gemm transposes the input"}


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        (4, "the branches have different numbers of channels"),
        (5, "the branches are not all convolutions"),
    ],
)
def test_a_convolution_beside_a_product_stays(channels, reason):
    model = _model(
        "c = Conv (x, k) p = MatMul(x, a) y = Add(c, p)",
        f"float[2, {channels}, 5]",
        weights={"k": _w(channels, channels, 1), "a": A},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_half_precision():
    weights = {n: WEIGHTS[n].astype(np.float16) for n in ("k3", "k1", "b", "b2")}
    model = _model(f"{C3} {C1} y = Sum(c, e, x)", "float16[N, 6, 9, 9]", weights=weights)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    assert result.graph.nodes[0].inputs[1].values.dtype == np.float16
    assert_same_function(model, result.graph, {"x": _feeds()["x"].astype(np.float16)}, 2e-3)


def test_a_branch_that_is_shown_stays():
    model = model_of(
        f"g (float[N, 6, 9, 9] x) => (float[] y, float[] c) {{ {C3} {C1} y = Add(c, e) }}",
        {n: WEIGHTS[n] for n in ("k3", "k1", "b", "b2")},
    )
    result = run_pass(planish.load(model), PASS)
    assert reasons(result) == {OTHERS}


def test_a_weight_with_a_default_is_no_constant():
    model = model_of(
        f"g (float[N, 6, 9, 9] x, float[6, 6, 3, 3] k3) => (float[] y) {{"
        f"{C3} {C1} y = Add(c, e) }}",
        {n: WEIGHTS[n] for n in ("k3", "k1", "b", "b2")},
    )
    result = run_pass(planish.load(model), PASS)
    assert reasons(result) == {"the weight of Conv is not constant"}


def test_shared_weights_are_left_to_their_other_readers():
    model = _model(f"{C3} {C1} q = Add(c, e) r = Relu(q) y = Conv <{P1}> (r, k3, b)")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Relu", "Conv"]
    assert_same_function(model, result.graph, _feeds())


def test_inside_a_branch_of_an_if():
    body = f"{C3} {C1} y1 = Add(c, e)"
    model = model_of(
        f"""g (float[N, 6, 9, 9] x, bool p) => (float[] y) {{
            y = If (p) <then_branch = t () => (float[] y1) {{ {body} }},
                        else_branch = f () => (float[] y2) {{ y2 = Neg(x) }}> }}""",
        {n: WEIGHTS[n] for n in ("k3", "k1", "b", "b2")},
    )
    result = run_pass(planish.load(model), PASS)
    then = result.graph.nodes[0].attrs["then_branch"]
    assert ops(then) == ["Conv"]
    assert_same_function(model, result.graph, {**_feeds(), "p": np.array(True)})


def test_weights_that_do_not_fit_stay():
    big = np.full((6, 6, 1, 1), 6e4, np.float16)
    model = _model(
        "c = Conv (x, k) e = Conv (x, l) y = Add(c, e)",
        "float16[N, 6, 9, 9]",
        weights={"k": big, "l": big},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert "not finite" in next(iter(reasons(result)))


def test_linear_in_a_long_sum():
    """Five hundred pairs in one sum, and five hundred blocks in a row, are each one walk."""
    body = "a0 = Abs(x) " + " ".join(
        f"r{i} = Relu(x) c{i} = Conv (r{i}, k1) e{i} = Conv (r{i}, k1) s{i} = Add(c{i}, e{i})"
        f"a{i + 1} = Add(a{i}, s{i})"
        for i in range(500)
    )
    model = _model(body + " y = Neg(a500)")
    result = planish.Pipeline.parse(PASS).run(planish.load(model), verify="off")
    assert ops(result.graph).count("Conv") == 500
    assert result.edits == 1


@given(case=networks(patterns=PARALLEL))
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks(case):
    _check(case, PASS)
