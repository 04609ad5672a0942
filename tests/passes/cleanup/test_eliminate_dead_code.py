"""Nodes nothing reads go; outputs, captures and possible effects stay."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

PASS = "eliminate-dead-code"
X = np.array([-1, 2], np.float32)
CUSTOM = '<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>\n'


def test_a_dead_chain_goes_in_one_run():
    model = model_of(
        "g (float[2] x) => (float[2] y) { a = Abs(x) d = Neg(a) "
        "e = Exp(d) h = Add(e, d) y = Relu(a) }"
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Relu"]
    assert result.edits == 3
    assert_same_function(model, result.graph, {"x": X}, 0)


@pytest.mark.parametrize(
    "body",
    [
        "y = Neg(x) z = Abs(y)",  # an output that is read as well
        "y = Neg(x) z = Neg(x)",
        "y, z = Split <num_outputs = 2, axis = 0> (d) d = Concat <axis = 0> (x, x)",
    ],
)
def test_everything_lives(body):
    graph = graph_of(f"g (float[2] x) => (float[2] y, float[2] z) {{ {body} }}")
    assert run_pass(graph, PASS).edits == 0


def test_one_live_output_of_several_is_enough():
    graph = graph_of("g (float[4] x) => (float[2] z) { a, z = Split <num_outputs = 2> (x) }")
    assert run_pass(graph, PASS).edits == 0


def test_unread_random_operators_go():
    graph = graph_of("g (float[2] x) => (float[2] y) { r = RandomNormalLike(x) y = Neg(x) }")
    assert ops(run_pass(graph, PASS).graph) == ["Neg"]


def test_captures_keep_their_producer_and_branches_are_cleaned():
    branch = """g (float[2] x, bool t) => (float[2] y) {
        a = Abs(x) b = Neg(x) c = Exp(x)
        y = If (t) <then_branch = p () => (float[2] u) { u = Neg(a) d = Exp(c) },
                    else_branch = q () => (float[2] w) { w = Abs(b) }> }"""
    model = model_of(branch)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg", "If"]  # Exp(x) was read by dead code alone
    assert ops(result.graph.nodes[2].attrs["then_branch"]) == ["Neg"]
    for t in (True, False):
        assert_same_function(model, result.graph, {"x": X, "t": np.array(t)}, 0)


def test_operators_of_unknown_domains_stay():
    graph = graph_of(
        CUSTOM + "g (float[2] x) => (float[2] y) { a = Abs(x) d = my.domain.Log(a) y = Neg(x) }"
    )
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ["Abs", "Log", "Neg"]
    assert reasons(result) == {"operators of domain 'my.domain' may have effects"}


def test_an_if_around_such_an_operator_stays():
    graph = graph_of(
        CUSTOM
        + """g (float[2] x, bool t) => (float[2] y) {
            d = If (t) <then_branch = p () => (float[2] u) { u = my.domain.Log(x) },
                        else_branch = q () => (float[2] w) { w = Abs(x) }>
            e = If (t) <then_branch = r () => (float[2] v) { v = Exp(x) },
                        else_branch = s () => (float[2] z) { z = Abs(x) }>
            y = Neg(x) }"""
    )
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ["If", "Neg"]
    assert result.graph.nodes[0].outputs[0].name == "d"


FUNCTION = """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1, "other" : 1]>
g (float[2] x) => (float[2] y) { a = my.domain.Outer(x) y = Neg(x) }
<domain: "my.domain", opset_import: ["" : 20, "my.domain" : 1]>
Outer (x) => (y) { y = my.domain.Inner(x) }
<domain: "my.domain", opset_import: ["" : 20, "other" : 1]>
Inner (x) => (y) { y = BODY }
"""


@pytest.mark.parametrize(("body", "left"), [("Abs(x)", 1), ("other.Log(x)", 2)])
def test_local_functions_go_where_their_bodies_have_no_effect(body, left):
    result = run_pass(graph_of(FUNCTION.replace("BODY", body)), PASS)
    assert len(result.graph.nodes) == left


def test_a_long_dead_chain_takes_one_edit_a_node():
    body = "".join(f"n{i + 1} = Neg(n{i})\n" for i in range(500))
    graph = graph_of(f"g (float[2] n0) => (float[2] y) {{ {body} y = Abs(n0) }}")
    assert run_pass(graph, PASS, verify="off").edits == 500
