"""An If whose condition is known is replaced by its branch; names, captures and types survive."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

PASS = "inline-constant-branches"
X = np.array([-1, 2, 0, 5], np.float32)
YES, NO = np.array(True), np.array(False)
BRANCHES = """then_branch = p () => (float[4] u) { k = Abs(x) u = Exp(k) },
              else_branch = q () => (float[4] v) { k = Neg(x) v = Sin(k) }"""


def _check(text, left, weights=None, feeds=None, pipeline=PASS):
    model = model_of(text, weights)
    result = run_pass(planish.load(model), pipeline)
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, feeds or {"x": X})
    return result


@pytest.mark.parametrize(("value", "left"), [(YES, ["Abs", "Exp"]), (NO, ["Neg", "Sin"])])
@pytest.mark.parametrize("form", ["initializer", "Constant", "one element"])
def test_constant_condition(value, left, form):
    values = value.reshape(1) if form == "one element" else value
    condition = f"k2 = Constant <value = bool {{{int(value)}}}> ()" if form == "Constant" else ""
    text = f"g (float[4] x) => (float[4] y) {{ {condition} y = If (k2) <{BRANCHES}> }}"
    left = ["Constant", *left] if form == "Constant" else left
    result = _check(text, left, None if form == "Constant" else {"k2": values})
    assert [t.name for t in result.graph.outputs] == ["y"]
    assert result.edits == 1


@pytest.mark.parametrize("batch", ["3", "N"])
def test_condition_follows_from_static_sizes(batch):
    text = f"""g (float[{batch}, 4] x) => (float[{batch}, 4] y) {{
        s = Shape(x) d = Gather(s, one) t = Greater(d, two)
        h = If (t) <then_branch = p () => (float[{batch}, 4] u) {{ u = Abs(x) }},
                    else_branch = q () => (float[{batch}, 4] v) {{ v = Neg(x) }}>
        y = Exp(h) }}"""
    weights = {"one": np.array(1), "two": np.array(2)}
    feeds = {"x": np.stack([X, X + 1, X - 1])}
    _check(text, ["Shape", "Gather", "Greater", "Abs", "Exp"], weights, feeds)
    _check(text, ["Abs", "Exp"], weights, feeds, f"{PASS},eliminate-dead-code")


def test_condition_of_the_batch_stays():
    text = """g (float[N, 4] x) => (float[N, 4] y) {
        s = Shape(x) d = Gather(s, zero) t = Greater(d, two)
        y = If (t) <then_branch = p () => (float[N, 4] u) { u = Abs(x) },
                    else_branch = q () => (float[N, 4] v) { v = Neg(x) }> }"""
    weights = {"zero": np.array(0), "two": np.array(2)}
    for rows in (1, 4):
        feeds = {"x": np.tile(X, (rows, 1))}
        result = _check(text, ["Shape", "Gather", "Greater", "If"], weights, feeds)
    assert reasons(result) == {"its condition depends on the inputs"}


def test_overridable_condition_stays():
    text = f"g (float[4] x, bool k2) => (float[4] y) {{ y = If (k2) <{BRANCHES}> }}"
    for value in (YES, NO):
        _check(text, ["If"], {"k2": YES}, {"x": X, "k2": value})


def test_names_of_sibling_branches_do_not_clash():
    """Both branches of both Ifs, and the graph around them, may use the same inner names."""
    text = f"""g (float[4] x) => (float[4] y) {{
        a = If (yes) <{BRANCHES}>
        b = If (no) <{BRANCHES.replace("u", "u2").replace("v", "v2")}>
        k3 = Neg(a) y = Add(k3, b) }}"""
    _check(text, ["Abs", "Exp", "Neg", "Sin", "Neg", "Add"], {"yes": YES, "no": NO})


def test_constants_of_branches_with_equal_names():
    text = """g (float[4] x) => (float[4] y, float[4] z) {
        y = If (yes) <then_branch = p () => (float[4] u) <float[4] w = {1, 2, 3, 4}>
                          { u = Mul(x, w) },
                      else_branch = q () => (float[4] v) { v = Neg(x) }>
        z = If (yes) <then_branch = p () => (float[4] u) <float[4] w = {5, 6, 7, 8}>
                          { u = Mul(x, w) },
                      else_branch = q () => (float[4] v) { v = Neg(x) }> }"""
    _check(text, ["Mul", "Mul"], {"yes": YES})


def test_an_overridable_initializer_that_only_the_branch_reads():
    text = """g (float[4] x, float[4] w) => (float[4] y) {
        y = If (yes) <then_branch = p () => (float[4] u) { u = Mul(x, w) },
                      else_branch = q () => (float[4] v) { v = Neg(x) }> }"""
    feeds = {"x": X, "w": X + 2}
    _check(text, ["Mul"], {"yes": YES, "w": X}, feeds)


def test_several_outputs_one_captured_one_constant_one_twice():
    text = """g (float[4] x) => (float[4] y, float[4] z, float[4] r, float[4] m) {
        a = Abs(x)
        h, z, b, r = If (yes) <
            then_branch = p () => (float[4] u0, float[4] u1, float[4] u2, float[4] u3)
                <float[4] u3 = {1, 2, 3, 4}>
                { u0 = Identity(a) u1 = Exp(a) u2 = Neg(u1) },
            else_branch = q () => (float[4] v0, float[4] v1, float[4] v2, float[4] v3)
                { v0 = Neg(x) v1 = Neg(v0) v2 = Neg(v1) v3 = Neg(v2) }>
        y = Add(h, b) m = Identity(r) }"""
    result = _check(text, ["Abs", "Identity", "Exp", "Neg", "Identity", "Add", "Identity"],
                    {"yes": YES})  # fmt: skip
    assert [t.name for t in result.graph.outputs] == ["y", "z", "r", "m"]


def test_one_result_under_two_output_names():
    text = """g (float[4] x) => (float[4] y, float[4] z) {
        y, z = If (yes) <then_branch = p () => (float[4] u, float[4] u) { u = Abs(x) },
                         else_branch = q () => (float[4] v, float[4] v) { v = Neg(x) }> }"""
    model = model_of(text, {"yes": YES})
    result = run_pass(planish.load(model), PASS, verify="off")
    assert ops(result.graph) == ["Abs", "Identity"]


def test_nested():
    text = f"""g (float[4] x, bool t) => (float[4] y) {{
        y = If (yes) <
            then_branch = p2 () => (float[4] u2) {{
                a = If (no) <{BRANCHES}>
                b = If (t) <then_branch = p3 () => (float[4] u3) {{
                                c = If (yes) <{BRANCHES}> u3 = Neg(c) }},
                            else_branch = q3 () => (float[4] v3) {{ v3 = Neg(x) }}>
                u2 = Add(a, b) }},
            else_branch = q2 () => (float[4] v2) {{ v2 = Neg(x) }}> }}"""
    for t in (YES, NO):
        result = _check(text, ["Neg", "Sin", "If", "Add"], {"yes": YES, "no": NO},
                        {"x": X, "t": t})  # fmt: skip
    assert ops(result.graph.nodes[2].attrs["then_branch"]) == ["Abs", "Exp", "Neg"]


def test_inside_a_loop():
    text = """g (float[4] x, int64 n) => (float[4] y) {
        y = Loop (n, , x) <body = b (int64 i, bool go, float[4] s) => (bool on, float[4] r) {
            on = Identity(go)
            r = If (yes) <then_branch = p () => (float[4] u) { u = Add(s, x) },
                          else_branch = q () => (float[4] v) { v = Neg(s) }> }> }"""
    for n in (0, 3):
        feeds = {"x": X, "n": np.array(n)}
        result = _check(text, ["Loop"], {"yes": YES}, feeds)
    assert ops(result.graph.nodes[0].attrs["body"]) == ["Identity", "Add"]


def test_ranks_that_only_the_other_branch_allows():
    """The branches differ in rank, so only after inlining is the last condition known."""
    text = """g (float[4] x) => (float[M] y) {
        h = If (yes) <then_branch = p () => (float[2, 2] u) { u = Reshape(x, square) },
                      else_branch = q () => (float[4] v) { v = Neg(x) }>
        s = Shape(h) n = Size(s) t = Equal(n, two)
        y = If (t) <then_branch = p () => (float[4] u2) { u2 = Reshape(h, flat) },
                    else_branch = q () => (float[4] v2) { v2 = Neg(x) }> }"""
    weights = {"yes": YES, "square": np.array([2, 2]), "flat": np.array([4]), "two": np.array(2)}
    _check(text, ["Reshape", "Reshape"], weights, None, f"{PASS},eliminate-dead-code")


def test_limit():
    text = f"""g (float[4] x) => (float[4] y) {{
        a = If (yes) <{BRANCHES}> b = If (yes) <{BRANCHES}> y = Add(a, b) }}"""
    graph = planish.load(model_of(text, {"yes": YES}))
    assert planish.Pipeline.parse(PASS).run(graph, limit=1).edits == 1


def test_custom_domain_stays():
    text = f"""<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[4] x) => (float[4] y) {{ y = my.domain.If (yes) <{BRANCHES}> }}"""
    assert run_pass(planish.load(model_of(text, {"yes": YES})), PASS).edits == 0


def test_a_branch_whose_shape_later_operators_do_not_admit_stays():
    """Range takes [4] for 4 as long as that is not seen; onnx's own AffineGrid does so."""
    text = """g (float[4] x) => (float[4] y) {
        n = If (yes) <then_branch = p () => (int64[1] u) <int64[1] u = {4}> {},
                      else_branch = q () => (int64 v) { v = Identity(four) }>
        r = Range(zero, n, one) f = CastLike(r, x)
        k = If (no) <then_branch = p2 () => (float[4] u2) { u2 = Neg(x) },
                     else_branch = q2 () => (float[4] v2) { v2 = Abs(x) }>
        y = Add(f, k) }"""
    weights = {"four": np.array(4), "zero": np.array(0),
               "one": np.array(1), "yes": YES, "no": NO}  # fmt: skip
    result = _check(text, ["If", "Range", "CastLike", "Abs", "Add"], weights)
    (reason,) = reasons(result)
    assert reason.startswith("types would not infer without it")
