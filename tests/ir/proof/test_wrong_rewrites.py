"""Rewrites that are wrong for some inputs: none is proved, or the claim says for which it holds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish
from planish.ir.proof.digests import Digests
from planish.ir.proof.sides import Side
from planish.passes.trust.prove.certify import Origin, certify

POOL = "MaxPool<kernel_shape=[3], pads=[1,1]>"
ROW = "g (float[4] x) => (float[4] y)"
TWO = "g (float[4] x, float[4] z) => (float[4] y)"
LINE = "g (float[1,1,6] x) => (float[1,1,6] y)"
INTS = "g (int8[1] a, int8[1] b, int8[1] c, int8[1] d) => (int8[1] y)"

# Before, after: of one graph.
WRONG = {
    "a mask": (
        "g (bool[4] m, float[4] x) => (float[4] y) <float lo = {-1e9}>",
        "n = Neg(x) y = Where(m, n, lo)",
        "y = Where(m, x, lo)",
    ),
    "a mask that is computed": (
        TWO + " <float k = {1e9}>",
        "m = Mul(z, k) y = Add(x, m)",
        "m = Mul(z, k) w = Add(x, x) y = Add(w, m)",
    ),
    "a term beside one that rounding of constants may move as far": (
        TWO + " <float k = {1e6}, float f = {1.0000001}>",
        "m = Mul(z, k) w = Mul(x, f) y = Add(w, m)",
        "m = Mul(z, k) w = Add(x, x) y = Add(w, m)",
    ),
    "an argument beside a constant": (
        ROW + " <float c = {1e6}>",
        "a = Add(x, c) y = Sin(a)",
        "b = Add(x, x) a = Add(b, c) y = Sin(a)",
    ),
    "an argument beside others": (
        "g (float[1,4] x) => (float[1,5] y) <float[1,1] b = {1e8}, float[5] s = {1,1,1,1,1}>",
        "n = Neg(x) t = Concat<axis=1>(n, b) y = LayerNormalization(t, s)",
        "t = Concat<axis=1>(x, b) y = LayerNormalization(t, s)",
    ),
    "a threshold": (
        "g (float[4] x) => (bool[4] y) <float c = {1e9}>",
        "n = Neg(x) y = Greater(n, c)",
        "y = Greater(x, c)",
    ),
    "a bound before a border": (
        LINE + " <float c = {5.0}>",
        f"e = Exp(x) y = {POOL}(e)",
        f"m = Min(x, c) e = Exp(m) y = {POOL}(e)",
    ),
    "a bias before a border": (
        LINE + " <float[1,1,3] w = {1,2,3}, float[1] b = {1}, float[1] c = {50}>",
        f"e = Conv<pads=[1,1]>(x, w, b) y = {POOL}(e)",
        f"e = Conv<pads=[1,1]>(x, w, c) y = {POOL}(e)",
    ),
    "a function before a border": (
        LINE,
        f"e = Round(x) y = {POOL}(e)",
        f"e = Floor(x) y = {POOL}(e)",
    ),
    "a number for a border": (
        LINE + " <int64[6] p = {0,0,1,0,0,1}, float v = {-1e30}>",
        f"y = {POOL}(x)",
        "t = Pad(x, p, v) y = MaxPool<kernel_shape=[3]>(t)",
    ),
    "a function in a wider type": (
        "g (float16[4] x) => (float[4] y)",
        "a = Exp(x) y = Cast<to=1>(a)",
        "a = Cast<to=1>(x) y = Exp(a)",
    ),
    "a quotient of itself": (
        ROW + " <float[4] o = {1,1,1,1}>",
        "y = Div(x, x)",
        "n = Sub(x, x) y = Add(n, o)",
    ),
    "a factor that is divided out": (TWO, "p = Mul(x, z) y = Div(p, z)", "y = Identity(x)"),
    "numbers whose squares vanish": (
        "g (double[4] x) => (double[4] y) <double c = {1e-170}, double d = {5e-170}>",
        "y = Mul(x, c)",
        "y = Mul(x, d)",
    ),
    "products that wrap around": (
        INTS + " <int8 k = {-128}>",
        "y = Add(a, b)",
        "p = Mul(a, b) q = Mul(p, c) r = Mul(q, d) s = Mul(r, k) t = Add(a, b) y = Add(t, s)",
    ),
    "a factor in the units of another type": (
        LINE + " <float[1,1,3] w = {1,2,3}, bfloat16 f = {16269}>",
        "y = Conv<pads=[1,1]>(x, w)",
        "c = Conv<pads=[1,1]>(x, w) g = Cast<to=1>(f) y = Mul(c, g)",
    ),
    "rounding to integers behind a layer": (
        LINE + " <float[1,1,3] w = {1,2,3}, float c = {12582912}>",
        "p = Conv<pads=[1,1]>(x, w) q = Add(p, c) y = Sub(q, c)",
        "y = Conv<pads=[1,1]>(x, w)",
    ),
    "a cast that saturates": (
        "g (float[4] x) => (float8e4m3fn[4] y)",
        "y = Cast<to=17>(x)",
        "y = Cast<to=17, saturate=0>(x)",
    ),
    "a guard against what is no number": (
        ROW + " <float o = {0}>",
        "m = IsNaN(x) y = Where(m, o, x)",
        "y = Identity(x)",
    ),
    "an epsilon": (
        LINE + " <float[1] s = {1}, float[1] b = {0}, float[1] m = {0}, float[1] v = {0.001}>",
        "y = BatchNormalization<epsilon=0.001>(x, s, b, m, v)",
        "y = BatchNormalization<epsilon=0.00001>(x, s, b, m, v)",
    ),
    "integers of another width": (
        "g (int8[4] x, int8[4] z) => (int32[4] y)",
        "s = Add(x, z) y = Cast<to=6>(s)",
        "a = Cast<to=6>(x) b = Cast<to=6>(z) y = Add(a, b)",
    ),
    "a factor that a prime divides": (
        "g (int64[4] x) => (int64[4] y) <int64 c = {2305843009213693951}, int64 d = {2147483647}>",
        "p = Mul(x, c) y = Mul(p, d)",
        "y = Sub(x, x)",
    ),
    "an epsilon of a quotient that is dropped": (
        ROW + " <int64[1] a = {0}, float e = {1e-8}>",
        "q = Mul(x, x) s = ReduceSum(q, a) d = Add(s, e) y = Div(x, d)",
        "q = Mul(x, x) s = ReduceSum(q, a) y = Div(x, s)",
    ),
    "an epsilon of a quotient that is another": (
        ROW + " <float o = {1}, float e = {1e-8}, float f = {1e-10}>",
        "q = Mul(x, x) d = Add(q, e) y = Div(o, d)",
        "q = Mul(x, x) d = Add(q, f) y = Div(o, d)",
    ),
    "an epsilon of a size": (
        ROW + " <float e = {1e-8}, float f = {1e-10}>",
        "q = Abs(x) d = Add(q, e) y = Div(x, d)",
        "q = Abs(x) d = Add(q, f) y = Div(x, d)",
    ),
    "an epsilon of a logarithm": (
        ROW + " <float e = {1e-12}>",
        "a = Add(x, e) y = Log(a)",
        "y = Log(x)",
    ),
    "an epsilon under a root": (
        ROW + " <int64[1] a = {0}, float e = {1e-12}>",
        "q = ReduceSumSquare(x, a) m = Add(q, e) s = Sqrt(m) y = Div(x, s)",
        "q = ReduceSumSquare(x, a) s = Sqrt(q) y = Div(x, s)",
    ),
    "an epsilon beside a norm": (
        ROW + " <int64[1] a = {0}, float e = {1e-12}>",
        "q = ReduceL2(x, a) m = Add(q, e) y = Div(x, m)",
        "q = ReduceL2(x, a) y = Div(x, q)",
    ),
    "an epsilon behind a layer": (
        LINE + " <float[1,1,3] w = {1,2,3}, float o = {1}, float e = {1e-8}>",
        "c = Conv<pads=[1,1]>(x, w) q = Mul(c, c) d = Add(q, e) y = Div(o, d)",
        "c = Conv<pads=[1,1]>(x, w) q = Mul(c, c) y = Div(o, q)",
    ),
    "a term that numbers near 1 hide": (
        ROW + " <float c = {1e-12}>",
        "p = Mul(x, x) q = Mul(p, p) r = Mul(q, x) k = Mul(c, r) n = Sub(k, k) y = Add(x, n)",
        "p = Mul(x, x) q = Mul(p, p) r = Mul(q, x) k = Mul(c, r) y = Add(x, k)",
    ),
    "a term beside a Relu": (
        ROW + " <float c = {1e-8}>",
        "y = Relu(x)",
        "p = Mul(x, x) q = Mul(p, x) k = Mul(q, c) r = Relu(x) y = Add(k, r)",
    ),
    "a term behind a layer": (
        LINE + " <float[1,1,3] w = {1,2,3}, float c = {1e-8}>",
        "y = Conv<pads=[1,1]>(x, w)",
        "a = Conv<pads=[1,1]>(x, w) b = Mul(a, a) d = Mul(b, a) e = Mul(d, c) y = Add(a, e)",
    ),
    "a term beside a product": (
        TWO + " <float c = {1e-9}>",
        "y = Mul(x, z)",
        "a = Mul(x, z) b = Mul(x, c) y = Add(a, b)",
    ),
    "a slope below zero": (
        ROW + " <float f = {1}, float c = {1e-7}>",
        "y = Relu(x)",
        "m = Mul(x, c) y = Max(x, m)",
    ),
    "integers that float64 rounds": (
        "g (int64[1] x) => (int64[1] y) <int64 c = {4611686018427387904}, "
        "int64 d = {4611686018427387905}>",
        "y = Add(x, c)",
        "y = Add(x, d)",
    ),
}


def _proved(*texts, opsets=(20, 20)):
    models = (
        onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {text}')
        for text, opset in zip(texts, opsets, strict=True)
    )
    before, after = map(planish.load, models)
    return certify(before, after, Origin(before, planish.clone(before)), [])


@pytest.mark.parametrize("name", WRONG)
def test_it_is_not_proved(name):
    head, before, after = WRONG[name]
    assert _proved(f"{head} {{ {before} }}", f"{head} {{ {after} }}").open_outputs


@pytest.mark.parametrize(
    ("op", "opsets", "same"),
    [("Hardmax", (12, 13), False), ("Sigmoid", (12, 13), True), ("Selu", (21, 22), True)],
)
def test_another_version_of_an_operator_is_another_function(op, opsets, same):
    """But for one that takes more types, and is the same word by word."""
    text = f"g (float[2,3,4] x) => (float[2,3,4] y) {{ y = {op}(x) }}"
    assert bool(_proved(text, text, opsets=opsets).open_outputs) != same


@pytest.mark.parametrize(
    ("behind", "claim"),
    [
        ("y = Relu(b)", "rounding"),
        ("r = Relu(b) s = Add(r, r) y = Floor(s)", "jump"),
        ("i = ArgMax<axis=0>(b) y = Cast<to=1>(i)", "jump"),
        ("s = Shape(b) i = Expand(k, s) y = Add(i, i)", "rounding"),
    ],
)
def test_rounding_before_a_jump_is_called_so(behind, claim):
    """However far behind the window it is."""
    held = "<float c = {2.0}, float d = {2.000001}, float k = {1}>"
    head = f"g (float[4] x) => (float[] y, float[4] b) {held}"
    found = _proved(f"{head} {{ b = Mul(x, c) {behind} }}", f"{head} {{ b = Mul(x, d) {behind} }}")
    assert not found.open_outputs
    assert [window.claim for window in found.windows] == [claim]


@pytest.mark.parametrize(
    ("head", "before", "after", "claim"),
    [
        (
            "g (float[4] x, float[4] z) => (double[4] y)",
            "a = Add(x, z) y = Cast<to=11>(a)",
            "a = Cast<to=11>(x) b = Cast<to=11>(z) y = Add(a, b)",
            "identity",  # the sum in float may overflow
        ),
        (
            ROW + " <float c = {2.0}, float d = {2.000001}>",
            "a = Mul(x, c) y = Floor(a)",
            "a = Mul(x, d) y = Floor(a)",
            "jump",  # where arguments are taken for equal up to it
        ),
        (
            ROW + " <float c = {2.0}, float d = {2.000001}>",
            "a = Mul(x, c) y = Relu(a)",
            "a = Mul(x, d) y = Relu(a)",
            "rounding",
        ),
        (INTS, "s = Add(a, b) y = Mul(s, c)", "p = Mul(a, c) q = Mul(b, c) y = Add(q, p)", "exact"),
        (
            "g (uint8[4] x, uint8[4] z) => (uint8[4] y) <uint8 l = {255}>",
            "d = Sub(x, z) e = Sub(x, d) y = Add(e, l)",
            "y = Add(l, z)",
            "exact",
        ),
        (TWO, "p = Div(x, z) y = Neg(p)", "n = Neg(z) y = Div(x, n)", "identity"),
        (LINE, f"n = Neg(x) m = Neg(n) y = {POOL}(m)", f"y = {POOL}(x)", "identity"),
    ],
)
def test_the_claim_is_no_more_than_holds(head, before, after, claim):
    found = _proved(f"{head} {{ {before} }}", f"{head} {{ {after} }}")
    assert not found.open_outputs
    assert [window.claim for window in found.windows] == [claim]


def _branch(value):
    port = helper.make_tensor_value_info
    held = [numpy_helper.from_array(np.full(1, value, np.float32), "t")]
    body = helper.make_graph([], "b", [], [port("t", TensorProto.FLOAT, [1])], initializer=held)
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    ports = [port("c", TensorProto.BOOL, [])], [port("y", TensorProto.FLOAT, [1])]
    return helper.make_graph([node], "g", *ports)


def _sparse(value):
    port = helper.make_tensor_value_info
    held = helper.make_sparse_tensor(
        numpy_helper.from_array(np.full(1, value, np.float32), "s"),
        numpy_helper.from_array(np.ones(1, np.int64), "i"),
        [4],
    )
    ports = [port("x", TensorProto.FLOAT, [4])], [port("y", TensorProto.FLOAT, [4])]
    nodes = [helper.make_node("Mul", ["x", "s"], ["y"])]
    return helper.make_graph(nodes, "g", *ports, sparse_initializer=[held])


@pytest.mark.parametrize("made", [_branch, _sparse])
def test_every_constant_is_in_the_digest(made):
    opsets = [helper.make_opsetid("", 20)]
    models = (helper.make_model(made(v), opset_imports=opsets, ir_version=10) for v in (1, 5, 1))
    digests = [Side(planish.load(model), Digests()).digest for model in models]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]
