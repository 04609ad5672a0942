"""A Loop of few known iterations becomes its body, once for each; others stay, with the reason."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

PASS = "unroll-loops"
X = np.array([-1, 2, 0.5, 3], np.float32)
BODY = """body = b (int64 i, bool go, float[4] s) => (bool on, float[4] r) {
    on = Identity(go) f = CastLike(i, s) d = Sub(f, s) r = Mul(d, x) }"""


def _check(text, left, weights=None, feeds=None, pipeline=PASS):
    model = model_of(text, weights)
    result = run_pass(planish.load(model), pipeline)
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, feeds or {"x": X})
    return result


def _of(**values):
    return {name: np.array(value) for name, value in values.items()}


@pytest.mark.parametrize("condition", ["", "yes"])
@pytest.mark.parametrize("trips", [0, 1, 3])
def test_carried_values(condition, trips):
    text = f"g (float[4] x) => (float[4] y) {{ a = Abs(x) y = Loop (n, {condition}, a) <{BODY}> }}"
    weights = _of(n=trips) | (_of(yes=True) if condition else {})
    once = ["Identity", "CastLike", "Sub", "Mul"]
    left = ["Abs", *(once * trips or ["Identity"])]
    result = _check(text, left, weights)
    assert [t.name for t in result.graph.outputs] == ["y"]
    assert result.edits == 1
    clean = _check(text, ["Abs", *["Sub", "Mul"] * trips], weights, None,
                   f"{PASS},fold-constants,eliminate-identities,eliminate-dead-code")  # fmt: skip
    assert [t.name for t in clean.graph.outputs] == ["y"]


def test_a_condition_that_is_false_at_first():
    text = f"g (float[4] x) => (float[4] y) {{ a = Abs(x) y = Loop (n, no, a) <{BODY}> }}"
    _check(text, ["Abs", "Identity"], _of(n=5, no=False))


def test_a_body_that_stops_after_once():
    text = """g (float[4] x) => (float[4] y) {
        y = Loop (n, , x) <body = b (int64 i, bool go, float[4] s) => (bool on, float[4] r) {
            on = Constant <value = bool {0}> () r = Add(s, x) }> }"""
    _check(text, ["Constant", "Add"], _of(n=5))


SCAN = """body = b (int64 i, bool go, float[4] s) => (bool on, float[4] r, float[4] k, int64 j) {
    on = Constant <value = bool {1}> () r = Add(s, x) k = Exp(r) j = Identity(i) }"""


@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize("trips", [0, 1, 3])
def test_scan_outputs(trips, opset):
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[4] x) => (float[4] y, float[{trips}, 4] z, int64[{trips}] w) {{
            y, z, w = Loop (n, , x) <{SCAN}> }}"""
    model = model_of(text, _of(n=trips))
    result = run_pass(planish.load(model), PASS)
    assert "Loop" not in ops(result.graph)
    assert ops(result.graph).count("Concat") == (2 if trips > 1 else 0)
    assert_same_function(model, result.graph, {"x": X})


def test_values_that_change_places():
    text = """g (float[4] x) => (float[4] y, float[4] z, float[4] w) {
        a = Abs(x) b = Neg(x)
        y, z, w = Loop (n, , a, b, x) <
            body = l (int64 i, bool go, float[4] s, float[4] t, float[4] c)
                => (bool go, float[4] t, float[4] s, float[4] c2) { c2 = Add(c, s) }> }"""
    # Passing a body's input straight out is what ONNX Runtime refuses, so through Identity here.
    text = text.replace("(bool go, float[4] t, float[4] s, float[4] c2) {",
                        "(bool g2, float[4] t2, float[4] s2, float[4] c2) "
                        "{ g2 = Identity(go) t2 = Identity(t) s2 = Identity(s)")  # fmt: skip
    for trips in (1, 2, 3):
        model = model_of(text, _of(n=trips))
        result = run_pass(planish.load(model), f"{PASS},eliminate-identities,eliminate-dead-code")
        assert "Loop" not in ops(result.graph)
        assert_same_function(model, result.graph, {"x": X})


def test_shapes_that_change_from_one_iteration_to_the_next():
    text = """g (float[4] x) => (float[M] y) {
        y = Loop (n, , x) <body = b (int64 i, bool go, float[K] s) => (bool on, float[L] r) {
            on = Identity(go) r = Concat <axis = 0> (s, s) }>}"""
    result = _check(text, ["Identity", "Concat"] * 3, _of(n=3))
    assert planish.compare(planish.load(model_of(text, _of(n=3))), result.graph, [{"x": X}])


def test_trip_count_from_static_sizes():
    text = f"""g (float[4] x) => (float[4] y) {{
        s = Shape(x) n = Gather(s, zero) y = Loop (n, , x) <{BODY}> }}"""
    left = ["Identity", "CastLike", "Sub", "Mul"] * 4
    _check(text, ["Shape", "Gather", *left], _of(zero=0))


def test_a_loop_inside_a_loop_inside_a_branch():
    text = """g (float[4] x, bool t) => (float[4] y) {
        y = If (t) <
            then_branch = p () => (float[4] u) {
                u = Loop (two, , x) <
                    body = b (int64 i, bool go, float[4] s) => (bool on, float[4] r) {
                        on = Identity(go)
                        f = CastLike(i, x)
                        h = Loop (three, , s) <
                            body = b2 (int64 i2, bool go2, float[4] s2) => (bool on2, float[4] r2) {
                                on2 = Identity(go2) k = CastLike(i2, x) l = Add(k, f)
                                r2 = Sub(l, s2) }>
                        r = Mul(h, x) }> },
            else_branch = q () => (float[4] v) { v = Neg(x) }> }"""
    for t in (True, False):
        feeds = {"x": X, "t": np.array(t)}
        result = _check(text, ["If"], _of(two=2, three=3), feeds)
    inner = ops(result.graph.nodes[0].attrs["then_branch"])
    assert inner.count("Sub") == 6
    assert "Loop" not in inner


def test_a_branch_in_the_body_is_copied_for_each_iteration():
    text = """g (float[4] x, bool t) => (float[4] y) {
        y = Loop (n, , x) <body = b (int64 i, bool go, float[4] s) => (bool on, float[4] r) {
            on = Identity(go)
            r = If (t) <then_branch = p () => (float[4] u) <float[4] w = {1, 2, 3, 4}> {
                            a = Mul(s, w) u = Add(a, x) },
                        else_branch = q () => (float[4] v) { v = Neg(s) }> }> }"""
    for t in (True, False):
        _check(text, ["Identity", "If"] * 3, _of(n=3), {"x": X, "t": np.array(t)})


def test_shapes_known_only_after_unrolling_decide_another_loop():
    text = f"""g (float[4] x) => (float[4] y) {{
        a = Loop (two, , x) <body = b (int64 i, bool go, float[K] s) => (bool on, float[L] r) {{
            on = Identity(go) r = Concat <axis = 0> (s, s) }}>
        n = Size(a) m = Div(n, eight)
        y = Loop (m, , x) <{BODY}> }}"""
    model = model_of(text, _of(two=2, eight=8))
    result = run_pass(planish.load(model), PASS)
    assert "Loop" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"y = Loop (n, , x) <{BODY}>", "its trip count depends on the inputs"),
        (f"y = Loop (three, t, x) <{BODY}>", "whether it starts depends on the inputs"),
        (f"y = Loop (, t, x) <{BODY}>", "it has no trip count"),
        (
            f"y = Loop (many, , x) <{BODY}>",
            "its 65 iterations would become 260 nodes, over limit=256",
        ),
        (
            "y = Loop (three, , x) <body = b (int64 i, bool go, float[4] s) => "
            "(bool on, float[4] r) { m = ReduceSum <keepdims = 0> (s) on = Less(m, top) "
            "r = Add(s, x) }>",
            "its body computes whether it goes on",
        ),
        (
            "y = Loop (three, , x) <body = b (int64 i, bool go, float[4] s) => "
            "(bool on, float[4] r) { on = Identity(go) n0 = RandomNormalLike <seed = 1.0> (s) "
            "z = Mul(n0, nought) r = Add(s, z) }>",
            "its body draws random numbers",
        ),
        (
            "h, k = Loop (none, , x) <body = b (int64 i, bool go, float[4] s) => "
            "(bool on, float[4] r, int64[K, 1] w) { on = Identity(go) r = Add(s, x) "
            "w = NonZero(s) }> c = Cast <to = 1> (k) l = ReduceSum <keepdims = 0> (c) "
            "y = Add(h, l)",
            "it has no iteration, and a result of unknown size",
        ),
    ],
)  # fmt: skip
def test_leaves_alone(body, reason):
    values = {"three": 3, "many": 65, "none": 0, "top": np.float32(9), "nought": np.float32(0)}
    weights = {k: np.array(v) for k, v in values.items() if k in body}
    model = model_of(f"g (float[4] x, int64 n, bool t) => (float[4] y) {{ {body} }}", weights)
    result = run_pass(planish.load(model), PASS, verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_limit_is_an_option():
    text = f"g (float[4] x) => (float[4] y) {{ y = Loop (n, , x) <{BODY}> }}"
    for limit, loops in ((12, 0), (11, 1)):
        graph = planish.load(model_of(text, _of(n=3)))
        result = run_pass(graph, f"{PASS}{{limit={limit}}}")
        assert ops(result.graph).count("Loop") == loops


def test_overridable_trip_count_stays():
    text = f"g (float[4] x, int64 n) => (float[4] y) {{ y = Loop (n, , x) <{BODY}> }}"
    _check(text, ["Loop"], _of(n=3), {"x": X, "n": np.array(1)})
