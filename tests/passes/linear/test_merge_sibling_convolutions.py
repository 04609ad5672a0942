"""Siblings become one operator where a Concat stacks them, or where a Split was measured to pay."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import Array, assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.linear import SIBLINGS

PASS = "merge-sibling-convolutions"
FORCED = "merge-sibling-convolutions{only-measured=false}"
COSTLY = "a Split would cost more than one operator saves (measured)"
G = np.random.default_rng(11)


def _w(*shape: int) -> Array:
    return (G.standard_normal(shape) * np.prod(shape[1:]) ** -0.5).astype(np.float32)


WEIGHTS = {
    "a": _w(4, 6, 1, 1),
    "b": _w(5, 6, 1, 1),
    "c": _w(3, 6, 1, 1),
    "a3": _w(4, 6, 3, 3),
    "b3": _w(1, 6, 3, 3),
    "w16": _w(16, 6, 1, 1),
    "w8": _w(8, 6, 1, 1),
    "g": _w(4, 3, 1, 1),
    "ba": _w(4),
    "bb": _w(5),
    "zero": np.float32(0),
    "nought": np.float32(0),
    "six": np.float32(6),
    "ma": _w(5, 4),
    "mb": _w(5, 3),
    "mt": _w(3, 5),
    "va": _w(4),
    "vb": _w(3),
}


def _model(body, kind="float[N, 6, 7, 7]", outputs="y", opset=20, weights=WEIGHTS):
    words = set(re.findall(r"\w+", body))
    shown = ", ".join(f"float[] {name}" for name in outputs.split())
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\ng ({kind} x) => ({shown}) {{ {body} }}',
        {name: values for name, values in weights.items() if name in words},
    )


def _feeds(*shape):
    values = np.random.default_rng(0).standard_normal(shape or (2, 6, 7, 7))
    return {"x": values.astype(np.float32)}


P = "Conv (x, a, ba)"
Q = "Conv (x, b, bb)"
PADDED = "pads = [1, 1, 1, 1]"
JOINED = {
    "two": (f"p = {P} q = {Q} y = Concat <axis = 1> (p, q)", ["Conv"]),
    "order": (f"p = {P} q = {Q} y = Concat <axis = 1> (q, p)", ["Conv"]),
    "axis from the end": (f"p = {P} q = {Q} y = Concat <axis = -3> (p, q)", ["Conv"]),
    "one bias": ("p = Conv (x, a) q = Conv (x, b, bb) y = Concat <axis = 1> (p, q)", ["Conv"]),
    "no bias": ("p = Conv (x, a) q = Conv (x, b) y = Concat <axis = 1> (p, q)", ["Conv"]),
    "Relu on all": (
        f"p = {P} r = Relu(p) q = {Q} s = Relu(q) y = Concat <axis = 1> (r, s)",
        ["Conv", "Relu"],
    ),
    "Clip by equal bounds": (
        f"p = {P} r = Clip(p, zero, six) q = {Q} s = Clip(q, nought, six)"
        "y = Concat <axis = 1> (r, s)",
        ["Conv", "Clip"],
    ),
    "Clip without a lower bound": (
        f"p = {P} r = Clip(p, , six) q = {Q} s = Clip(q, , six) y = Concat <axis = 1> (r, s)",
        ["Conv", "Clip"],
    ),
    "neighbours among others": (
        f"n = Neg(x) p = {P} q = {Q} t = Conv (n, c) y = Concat <axis = 1> (x, q, p, t, n)",
        ["Neg", "Conv", "Conv", "Concat"],
    ),
    "two runs": (
        f"n = Neg(x) p = {P} q = {Q} t = Conv (n, c) u = Conv (n, a)"
        "y = Concat <axis = 1> (q, p, t, u)",
        ["Neg", "Conv", "Conv", "Concat"],
    ),
    "a different activation splits the run": (
        f"p = {P} q = {Q} t = Conv (x, c) u = Conv (x, w8) r = Relu(t) s = Relu(u)"
        "y = Concat <axis = 1> (q, p, r, s)",
        ["Conv", "Conv", "Relu", "Concat"],
    ),
    "a different kernel ends the run": (
        f"p = {P} q = {Q} t = Conv <{PADDED}> (x, a3) y = Concat <axis = 1> (q, p, t)",
        ["Conv", "Conv", "Concat"],
    ),
    "3x3, strided, auto_pad": (
        f"p = Conv <{PADDED}, strides = [2, 2]> (x, a3)"
        'q = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, b3)'
        "y = Concat <axis = 1> (p, q)",
        ["Conv"],
    ),
    "equal weights twice": ("p = Conv (x, a) q = Conv (x, a) y = Concat <axis = 1> (p, q)",
                            ["Conv"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["float[N, 6, 7, 7]", "float[2, 6, 7, 7]"])
@pytest.mark.parametrize(("body", "left"), JOINED.values(), ids=JOINED)
def test_into_a_concat(body, left, kind):
    if "auto_pad" in body and "N" in kind:
        kind = "float[N, 6, 7, 7]"
    model = _model(body, kind)
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == sorted(left)
    assert_same_function(model, result.graph, _feeds())


MATRICES = {
    "MatMul": "p = MatMul(x, ma) q = MatMul(x, mb)",
    "MatMul + Add": "i = MatMul(x, ma) p = Add(va, i) j = MatMul(x, mb) q = Add(j, vb)",
    "one Add": "p = MatMul(x, ma) j = MatMul(x, mb) q = Add(j, vb)",
    "activation": "i = MatMul(x, ma) p = Tanh(i) j = MatMul(x, mb) q = Tanh(j)",
}
FLAT = {
    "Gemm": "p = Gemm(x, ma, va) q = Gemm <alpha = 0.5, beta = 3.0, transB = 1> (x, mt, vb)",
    "transposed first": "p = Gemm <transB = 1> (x, mt, vb) q = Gemm <alpha = 2.0> (x, ma)",
}


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        *[(body, shape) for body in MATRICES.values() for shape in ((2, 5), (2, 3, 5))],
        *[(body, (2, 5)) for body in FLAT.values()],
    ],
)
@pytest.mark.parametrize("axis", [-1, "last"])
def test_matrices_into_a_concat(body, shape, axis):
    axis = len(shape) - 1 if axis == "last" else axis
    model = _model(f"{body} y = Concat <axis = {axis}> (p, q)", f"float{list(shape)}")
    result = run_pass(planish.load(model), PASS)
    left = ops(result.graph)
    assert "Concat" not in left
    assert sum(op in ("MatMul", "Gemm") for op in left) == 1
    assert_same_function(model, result.graph, _feeds(*shape))


APART = {
    "other tensors": (f"n = Neg(x) p = {P} q = Conv (n, b) y = Concat <axis = 1> (p, q)", None),
    "not next to each other": (f"p = {P} q = {Q} y = Concat <axis = 1> (p, x, q)", COSTLY),
    "joined along the height": (
        "p = Conv (x, a) q = Conv (x, a, ba) y = Concat <axis = 2> (p, q)",
        COSTLY,
    ),
    "kernels": (
        f"p = {P} q = Conv <{PADDED}> (x, a3) y = Concat <axis = 1> (p, q)",
        "its neighbours read one tensor, but not in the same way",
    ),
    "activations": (
        f"p = {P} r = Relu(p) q = {Q} y = Concat <axis = 1> (r, q)",
        "its neighbours read one tensor, but not in the same way",
    ),
    "bounds": (
        f"p = {P} r = Clip(p, zero, six) q = {Q} s = Clip(q, zero) y = Concat <axis = 1> (r, s)",
        "its neighbours read one tensor, but not in the same way",
    ),
    "attributes": (
        f"p = {P} r = LeakyRelu <alpha = 0.1> (p) q = {Q} s = LeakyRelu <alpha = 0.2> (q)"
        "y = Concat <axis = 1> (r, s)",
        "its neighbours read one tensor, but not in the same way",
    ),
    "groups": (
        f"p = {P} q = Conv <group = 2> (x, g) y = Concat <axis = 1> (p, q)",
        "its convolution has 2 groups",
    ),
    "weights": (
        f"p = {P} k = Neg(b) q = Conv (x, k) y = Concat <axis = 1> (p, q)",
        "the weight of Conv is not constant",
    ),
}


@pytest.mark.parametrize(("body", "reason"), APART.values(), ids=APART)
def test_stays_apart(body, reason):
    graph = planish.load(_model(body, weights={**WEIGHTS, "a": _w(8, 6, 1, 1), "ba": _w(8)}))
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ops(graph)
    assert (reason in reasons(result)) if reason else not reasons(result)


def test_what_a_concat_shares_stays():
    model = _model(f"p = Conv (x, w8) q = {Q} y = Concat <axis = 1> (p, q)", outputs="y p")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Conv", "Concat"]
    assert "what the Concat reads has other readers" in reasons(result)


SPLIT = {
    "plain": (f"p = {P} q = {Q} y = Neg(p) z = Abs(q)", ["Conv", "Split", "Neg", "Abs"]),
    "Relu": (
        f"p = {P} r = Relu(p) q = {Q} s = Relu(q) y = Neg(r) z = Abs(s)",
        ["Conv", "Relu", "Split", "Neg", "Abs"],
    ),
    "Relu on one": (
        f"p = {P} r = Relu(p) q = {Q} y = Neg(r) z = Abs(q)",
        ["Conv", "Split", "Relu", "Neg", "Abs"],
    ),
    "outputs of the graph": (f"y = {P} z = {Q}", ["Conv", "Split"]),
    "3x3": (
        f"y = Conv <{PADDED}> (x, a3) z = Conv <{PADDED}> (x, b3)",
        ["Conv", "Split"],
    ),
    "several readers": (f"p = {P} q = {Q} r = Neg(p) y = Mul(p, r) z = Abs(q)",
                        ["Conv", "Split", "Neg", "Mul", "Abs"]),
}  # fmt: skip


@pytest.mark.parametrize("opset", [12, 13, 18, 22])
@pytest.mark.parametrize(("body", "left"), SPLIT.values(), ids=SPLIT)
def test_with_a_split(body, left, opset):
    model = _model(body, outputs="y z", opset=opset)
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == sorted(left)
    assert [tensor.name for tensor in result.graph.outputs] == ["y", "z"]
    assert_same_function(model, result.graph, _feeds())


@pytest.mark.parametrize(
    ("sizes", "pays"),
    [
        ((4, 4), True),
        ((12, 4), True),
        ((2, 2, 2), True),
        ((20, 20, 20), True),
        ((20, 20), False),
        ((12, 12), False),
        ((8, 4), False),
        ((16, 16), False),
        ((64, 96, 17), False),
        ((768, 768, 768), False),
    ],
)
def test_a_split_only_where_it_was_measured_to_pay(sizes, pays):
    names = "pqrs"[: len(sizes)]
    weights = {f"w{name}": _w(size, 6, 1, 1) for name, size in zip(names, sizes, strict=True)}
    body = " ".join(f"{name} = Conv (x, w{name})" for name in names)
    model = _model(body, outputs=" ".join(names), weights=weights)
    result = run_pass(planish.load(model), PASS)
    assert ("Split" in ops(result.graph)) is pays
    assert reasons(result) == (set() if pays else {COSTLY})
    forced = run_pass(planish.load(model), FORCED)
    assert ops(forced.graph) == ["Conv", "Split"]
    assert_same_function(model, forced.graph, _feeds())


def test_three_projections_forced():
    """Query, key and value of attention: measured not to pay, possible all the same."""
    weights = {name: _w(16, 16) for name in ("wq", "wk", "wv")} | {"v": _w(16)}
    body = "q = MatMul(x, wq) i = MatMul(x, wk) k = Add(i, v) v1 = MatMul(x, wv)"
    model = _model(body, "float[N, 5, 16]", "q k v1", weights=weights)
    assert reasons(run_pass(planish.load(model), PASS)) == {COSTLY}
    result = run_pass(planish.load(model), FORCED)
    assert sorted(ops(result.graph)) == ["Add", "MatMul", "Split"]
    assert_same_function(model, result.graph, _feeds(2, 5, 16))


def test_a_reader_inside_a_body_is_no_sibling():
    model = model_of(
        """g (float[N, 6, 7, 7] x, bool t) => (float[] y, float[] z) {
            y = Conv (x, a)
            z = If (t) <then_branch = h () => (float[] u) { u = Conv (x, c) },
                        else_branch = e () => (float[] v) { v = Neg(x) }> }""",
        {"a": WEIGHTS["a"], "c": WEIGHTS["c"]},
    )
    assert run_pass(planish.load(model), FORCED).edits == 0


def test_a_tensor_with_very_many_readers_is_left():
    body = " ".join(f"o{i} = Conv (x, a)" for i in range(70))
    names = " ".join(f"o{i}" for i in range(70))
    assert run_pass(planish.load(_model(body, outputs=names)), PASS).edits == 0


def test_half_precision():
    weights = {name: WEIGHTS[name].astype(np.float16) for name in ("a", "b", "ba", "bb")}
    model = model_of(
        f"g (float16[N, 6, 7, 7] x) => (float16[] y) {{ p = {P} q = {Q} "
        "y = Concat <axis = 1> (p, q) }",
        weights,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    assert result.graph.nodes[0].inputs[1].values.dtype == np.float16
    feeds = {"x": _feeds()["x"].astype(np.float16)}
    assert_same_function(model, result.graph, feeds, 1e-3)


@pytest.mark.parametrize("pipeline", [PASS, FORCED])
@given(case=networks(patterns=SIBLINGS))
@settings(
    max_examples=examples(40),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks(pipeline, case):
    _check(case, pipeline)
