"""Local functions that nothing calls and imports that nothing needs are removed."""

from __future__ import annotations

import numpy as np

import planish

from tests.helpers import assert_same_function, model_of, run_pass

PASS = "eliminate-unused-functions"
X = np.array([-1, 2], np.float32)

TEXT = """<ir_version: 9, opset_import: ["" : 18, "used" : 1, "inner" : 1, "idle" : 1, "none" : 3]>
g (float[2] x, bool t) => (float[2] y) {
    y = If (t) <then_branch = p () => (float[2] u) { u = used.Outer(x) },
                else_branch = q () => (float[2] v) { v = Neg(x) }>
}
<domain: "used", opset_import: ["" : 18, "inner" : 1, "spare" : 1]>
Outer (a) => (b) { c = inner.Deep(a) b = Neg(c) }
<domain: "inner", opset_import: ["" : 18]>
Deep (a) => (b) { b = Exp(a) }
<domain: "idle", opset_import: ["" : 18, "idle" : 1]>
First (a) => (b) { b = idle.Second(a) }
<domain: "idle", opset_import: ["" : 18]>
Second (a) => (b) { b = Abs(a) }"""


def test_functions_and_imports():
    model = model_of(TEXT)
    result = run_pass(planish.load(model), PASS)
    assert {(f.domain, f.name) for f in result.graph.functions} == {
        ("used", "Outer"),
        ("inner", "Deep"),
    }
    exported = planish.to_model(result.graph)
    assert {entry.domain for entry in exported.opset_import} == {"", "used", "inner"}
    outer = next(f for f in exported.functions if f.name == "Outer")
    assert {entry.domain for entry in outer.opset_import} == {"", "inner"}
    assert result.edits == 5  # two functions, `idle` and `none`, and `spare`
    for t in (True, False):
        assert_same_function(model, result.graph, {"x": X, "t": np.array(t)})


def test_a_call_that_was_folded_away_takes_its_function_along():
    model = model_of(TEXT.replace("(float[2] x, bool t)", "(float[2] x)"), {"t": np.array(False)})
    result = run_pass(planish.load(model), f"inline-constant-branches,{PASS}")
    assert not result.graph.functions
    assert {e.domain for e in planish.to_model(result.graph).opset_import} == {""}


def test_domains_of_nodes_stay():
    model = model_of(
        """<ir_version: 9, opset_import: ["" : 18, "my.domain" : 2, "ai.onnx.ml" : 3]>
        g (float[2] x, bool t) => (float[2] y) {
            y = If (t) <then_branch = p () => (float[2] u) { u = my.domain.Thing(x) },
                        else_branch = q () => (float[2] v) { v = Neg(x) }> }"""
    )
    result = run_pass(planish.load(model), PASS)
    exported = planish.to_model(result.graph)
    assert {(e.domain, e.version) for e in exported.opset_import} == {("", 18), ("my.domain", 2)}


def test_fused_operators_stay():
    from tests.helpers import conv_batchnorm

    result = run_pass(planish.load(conv_batchnorm()), f"exact,{PASS}")
    assert {f.domain for f in result.graph.functions} <= {"planish"}
    assert result.records[-1].edits == 0


def test_limit():
    graph = planish.load(model_of(TEXT))
    assert planish.Pipeline.parse(PASS).run(graph, limit=2, verify="off").edits == 2
