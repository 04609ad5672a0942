"""Constants that an exporter wrote as nodes are narrowed like initializers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import model_of, ops, reasons, relative_error, run_ort, run_pass

R = np.random.default_rng(0)
HALF = "convert-precision"


def _normal(*shape):
    return (R.standard_normal(shape) * 0.1).astype(np.float32)


def _nodes(model):
    """Return `model` with a Constant node in place of each initializer."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    nodes = [
        onnx.helper.make_node("Constant", [], [held.name], value=held)
        for held in found.graph.initializer
    ]
    nodes += list(found.graph.node)
    del found.graph.initializer[:], found.graph.node[:]
    found.graph.node.extend(nodes)
    return found


LAYERS = """g (float[N, 3, 9, 9] x) => (float[N, 10] y) {
    c = Conv (x, w, b) r = Clip (c, low, high) p = GlobalAveragePool (r) f = Flatten (p)
    y = Gemm (f, m, k) }"""
WEIGHTS = {
    "w": _normal(32, 3, 3, 3),
    "b": _normal(32),
    "low": np.float32(0),
    "high": np.float32(6),
    "m": _normal(32, 10),
    "k": _normal(10),
}


@pytest.mark.parametrize("compute", ["half", "float32"])
def test_they_give_what_initializers_give(compute):
    model, feeds = model_of(LAYERS, WEIGHTS), {"x": _normal(4, 3, 9, 9)}
    pipeline = f"{HALF}{{compute={compute}}}"
    stored, made = (run_pass(planish.load(m), pipeline) for m in (model, _nodes(model)))
    assert made.edits == stored.edits
    left = [node for node in made.graph.nodes if node.op == "Constant"]
    # Those too small to be worth a Cast stay where constants alone are narrowed.
    assert len(left) == (0 if compute == "half" else 4)
    assert [op for op in ops(made.graph) if op != "Constant"] == ops(stored.graph)
    written = planish.to_model(made.graph)
    onnx.checker.check_model(written, full_check=True)
    expected = run_ort(planish.to_model(stored.graph), feeds)["y"]
    assert relative_error(expected, run_ort(written, feeds)["y"]) == 0
    assert run_pass(made.graph, pipeline).edits == 0


def test_one_that_also_an_operator_in_float32_reads_stays_for_that():
    text = """g (float[N, 64] x) => (float[] y, float[] z) {
        a = MatMul (x, w) y = Add (a, v) e = Exp (x) z = Mul (e, v) }"""
    model = _nodes(model_of(text, {"w": _normal(64, 64), "v": _normal(64)}))
    result = run_pass(planish.load(model), f"{HALF}{{keep=[Exp,Mul]}}")
    assert ops(result.graph).count("Constant") == 1
    feeds = {"x": _normal(4, 64)}
    expected, found = run_ort(model, feeds), run_ort(planish.to_model(result.graph), feeds)
    assert relative_error(expected["y"], found["y"]) < 2e-3
    np.testing.assert_array_equal(expected["z"], found["z"])


def test_a_bound_that_would_become_0_stays_float32_in_every_spelling():
    """As x / max(|x|, 1e-12), by which people normalize: 0 / 0 where the bound is 0."""
    text = """g (float[N, 64] x) => (float[] y) {
        a = MatMul (x, w) n = Abs (a) b = Clip (n, eps) y = Div (a, b) }"""
    plain = model_of(text, {"w": _normal(64, 64), "eps": np.float32(1e-12)})
    for model in (plain, _nodes(plain)):
        result = run_pass(planish.load(model), HALF)
        assert any("so small that it would become 0" in reason for reason in reasons(result))
        found = run_ort(planish.to_model(result.graph), {"x": np.zeros((2, 64), np.float32)})["y"]
        np.testing.assert_array_equal(found, 0)
        told = [remark for record in result.records for remark in record.remarks]
        assert any(remark.startswith("other nodes stay float32: of ") for remark in told)
