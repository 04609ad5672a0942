"""Equal things are computed once; what only looks equal is computed twice."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

PASS = "eliminate-common-subexpressions"
F = "float[2, 4]"
X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
WEIGHTS = {
    "w": np.full(4, 2, np.float32),
    "same": np.full(4, 2, np.float32),
    "other": np.full((1, 4), 2, np.float32),
    "zero": np.zeros(1, np.float32),
    "minus": np.full(1, -0.0, np.float32),
    "i": np.zeros(1, np.int32),
    "big": np.ones((2048, 4), np.float32),
    "big2": np.ones((2048, 4), np.float32),
}


def _model(body, *, inputs=f"{F} x"):
    import re

    words = set(re.findall(r"\w+", body))
    used = {k: v for k, v in WEIGHTS.items() if k in words}
    return model_of(f"g ({inputs}) => (float y) {{ {body} s = Sub(p, q) "
                    "y = ReduceSum <keepdims = 0> (s) }", used)  # fmt: skip


MERGES = {
    "same operands": ("p = Abs(x) q = Abs(x)", 1),
    "chains": ("a = Abs(x) b = Abs(x) p = Exp(a) q = Exp(b)", 2),
    "attributes": ("p = LeakyRelu <alpha = 0.5> (x) q = LeakyRelu <alpha = 0.5> (x)", 1),
    "equal small constants": ("p = Mul(x, w) q = Mul(x, same)", 1),
    "shared large constant": ("a = Mul(x, w) p = Transpose(a) b = Mul(x, w) q = Transpose(b)", 2),
    "Constant nodes": (
        "a = Constant <value = float {2.0}> () b = Constant <value = float {2.0}> () "
        "p = Mul(x, a) q = Mul(x, b)",
        2,
    ),
    "several outputs": (
        "a, b = Split <num_outputs = 2, axis = 1> (x) c, d = Split <num_outputs = 2, axis = 1> (x) "
        "p = Add(a, b) q = Add(c, d)",
        2,
    ),
    "absent inputs": ("p = Clip(x, , ) q = Clip(x, , )", 1),
}


@pytest.mark.parametrize(("body", "edits"), MERGES.values(), ids=MERGES)
def test_merges(body, edits):
    model = _model(body)
    result = run_pass(planish.load(model), PASS)
    assert result.edits == edits
    assert len(result.graph.nodes) == len(model.graph.node) - edits
    assert_same_function(model, result.graph, {"x": X}, 0)


STAYS = {
    "other operator": "p = Abs(x) q = Exp(x)",
    "other attribute": "p = LeakyRelu <alpha = 0.5> (x) q = LeakyRelu <alpha = 0.25> (x)",
    "swapped operands": "a = Abs(x) p = Sub(x, a) q = Sub(a, x)",
    "constants of another shape": "p = Mul(x, w) q = Mul(x, other)",
    "signed zeros": "a = Div(x, zero) b = Div(x, minus) p = Sign(a) q = Sign(b)",
    "random": "p = RandomNormalLike(x) q = RandomNormalLike(x)",
    "seeded random": "p = RandomNormalLike <seed = 1.0> (x) q = RandomNormalLike <seed = 1.0> (x)",
    "Dropout": "p = Dropout(x) q = Dropout(x)",
}


@pytest.mark.parametrize("body", STAYS.values(), ids=STAYS)
def test_leaves_alone(body):
    result = run_pass(planish.load(_model(body)), PASS)
    assert result.edits == 0


def test_constants_of_another_type_stay_apart():
    graph = graph_of(
        "g (float[4] x) => (float[4] y, float[4] z) { a = Cast <to = 1> (i) "
        "b = Cast <to = 1> (zero) "
        "y = Add(x, a) z = Add(x, b) }",
        {k: WEIGHTS[k] for k in ("i", "zero")},
    )
    assert run_pass(graph, PASS).edits == 0


def test_large_constants_are_told_apart_by_identity():
    text = (
        "g (float[1, 4] x) => (float[2048, 4] s) { p = Mul(x, big) q = Mul(x, big2) s = Sub(p, q) }"
    )
    graph = graph_of(text, {k: WEIGHTS[k] for k in ("big", "big2")})
    assert run_pass(graph, PASS).edits == 0
    shared = graph_of(text.replace("big2", "big"), {"big": WEIGHTS["big"]})
    assert run_pass(shared, PASS).edits == 1


def test_graph_outputs_keep_their_names():
    model = model_of(f"g ({F} x) => ({F} y, {F} z) {{ y = Abs(x) z = Abs(x) }}")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Abs"]
    assert reasons(result) == {"its result is a graph output, whose name must stay"}


def test_a_duplicate_that_is_an_output_gives_its_name():
    model = model_of(f"g ({F} x) => ({F} y, {F} z) {{ b = Abs(x) y = Abs(x) z = Neg(b) }}")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_of_two_fused_operators_that_are_outputs_one_copies():
    """Written out, each would have a Sigmoid of its own, which a second run would merge."""
    body = "a = Sigmoid(x) y = Mul(x, a) b = Sigmoid(x) c = Mul(x, b) z = Relu(c) w = Mul(b, x)"
    model = model_of(f"g ({F} x) => ({F} y, {F} w) {{ {body} }}")
    steps = planish.Pipeline.parse("recognize-activations,eliminate-common-subexpressions")
    result = steps.run(planish.load(model), verify="off")
    assert ops(result.graph).count("Silu") == 1
    written = planish.to_model(result.graph, portable=True)
    assert_same_function(model, result.graph, {"x": X}, 0)
    assert steps.run(planish.load(written), verify="off").edits == 0


def test_an_output_may_serve_the_readers_of_its_duplicate():
    model = model_of(f"g ({F} x) => ({F} y, {F} z) {{ y = Abs(x) b = Abs(x) z = Neg(b) }}")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_overridable_initializers_are_not_equal():
    model = model_of(
        "g (float[2, 4] x, float[4] w, float[4] same) => (float[2, 4] y) "
        "{ p = Mul(x, w) q = Mul(x, same) y = Sub(p, q) }",
        {k: WEIGHTS[k] for k in ("w", "same")},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    feeds = {"x": X, "w": np.arange(4, dtype=np.float32), "same": np.ones(4, np.float32)}
    assert_same_function(model, result.graph, feeds, 0)


def test_scopes_are_kept_apart_and_captures_follow():
    model = model_of(
        f"""g ({F} x, bool t) => ({F} y) {{
            a = Abs(x) b = Abs(x) c = Neg(a)
            y = If (t) <
                then_branch = p () => ({F} u) {{ k = Abs(x) l = Exp(b) m = Exp(b) n = Add(k, l)
                                                 u = Add(n, m) }},
                else_branch = q () => ({F} w) {{ w = Add(c, b) }}> }}"""
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg", "If"]
    assert ops(result.graph.nodes[2].attrs["then_branch"]) == ["Abs", "Exp", "Add", "Add"]
    for t in (True, False):
        assert_same_function(model, result.graph, {"x": X, "t": np.array(t)}, 0)


def test_operators_with_subgraphs_and_of_unknown_domains_stay():
    graph = graph_of(
        f"""<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g ({F} x, bool t) => ({F} y) {{
            a = my.domain.Abs(x) b = my.domain.Abs(x) c = Add(a, b)
            d = If (t) <then_branch = p () => ({F} u) {{ u = Abs(x) }},
                        else_branch = q () => ({F} w) {{ w = Exp(x) }}>
            e = If (t) <then_branch = p () => ({F} v) {{ v = Abs(x) }},
                        else_branch = q () => ({F} z) {{ z = Exp(x) }}>
            f = Add(d, e) y = Add(c, f) }}"""
    )
    assert run_pass(graph, PASS).edits == 0


def test_nan_attributes_do_not_differ_from_themselves():
    model = model_of(f"g ({F} x) => ({F} y) {{ p = Elu(x) q = Elu(x) y = Add(p, q) }}")
    for node in model.graph.node[:2]:
        node.attribute.append(onnx.helper.make_attribute("alpha", float("nan")))
    assert run_pass(planish.load(model), PASS).edits == 1


def test_readers_of_one_that_takes_an_outputs_name_are_merged_with_those_of_the_other():
    model = model_of(
        """g (float[N] x) => (float[N] y, float[N] w) {
            a = Abs(x) b = Neg(a) y = Abs(x) c = Neg(y) d = Neg(a) e = Exp(b) f = Exp(c)
            g = Exp(d) s = Add(e, f) w = Add(s, g) }"""
    )
    graph = run_pass(planish.load(model), "eliminate-common-subexpressions").graph
    assert ops(graph) == ["Abs", "Neg", "Exp", "Add", "Add"]
    assert_same_function(model, graph, {"x": np.array([1, -2], np.float32)}, 0)


def test_parts_of_a_fused_operator_that_a_file_spells_out_are_not_shared():
    """GELU by Tanh squares, as is done beside it: shared, the square could not be fused again."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 15]>
        g (float[2, 4] x) => (float[2, 4] y, float[2, 4] z) {
            z = Mul(x, x) p = Pow(x, three) a = Mul(small, p) s = Add(x, a) m = Mul(s, root)
            t = Tanh(m) h = Mul(x, half) o = Add(one, t) y = Mul(h, o)
        }""",
        {
            "three": np.float32(3),
            "small": np.float32(0.044715),
            "root": np.float32(0.7978846),
            "half": np.float32(0.5),
            "one": np.float32(1),
        },
    )
    exact = planish.Pipeline.parse("exact")
    first = exact.run(planish.load(model), verify="off")
    written = planish.to_model(first.graph, portable=True)
    squares = [node for node in written.graph.node if list(node.input) == ["x", "x"]]
    assert len(squares) == 2
    assert exact.run(planish.load(written), verify="off").edits == 0
