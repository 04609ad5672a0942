"""Products of two activations on integers, as attention has them."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import planish
from planish.ir.ops.quantization.nodes import dequantizer

from tests.helpers import model_of, ops, reasons, relative_error, run_ort, run_pass, view_of

R = np.random.default_rng(0)
ATTENTION = """g (float[N, 16, 32] x) => (float[N, 16, 32] y) {
    q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)
    t = Transpose <perm = [0, 2, 1]> (k)
    s = MatMul (q, t)  p = Softmax <axis = -1> (s)  o = MatMul (p, v)  y = MatMul (o, wo) }"""
PAIR = "g (float[N, 4, 8] x, float[N, 8, 6] z) => (float[N, 4, 6] y) { y = MatMul (x, z) }"
SQUARE = "g (float[N, 8, 8] x) => (float[N, 8, 8] y) { y = MatMul (x, x) }"


def _normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


def _attention(opset):
    weights = {f"w{key}": _normal(32, 32) / 6 for key in "qkvo"}
    return model_of(f'<ir_version: 8, opset_import: ["" : {opset}]>\n' + ATTENTION, weights)


def _quantized(model, feeds, options="products=true"):
    text = f"quantize{{measure=false,guard=off,{options}}}"
    return run_pass(planish.load(model), text, feeds=feeds)


def _optimized(model, tmp_path):
    """Return the operators of ONNX Runtime's graph."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session, [node.op for node in planish.load(tmp_path / "optimized.onnx").nodes]


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_attention_is_computed_on_integers(opset, tmp_path):
    model, feeds = _attention(opset), [{"x": _normal(4, 16, 32)} for _ in range(8)]
    result = _quantized(model, feeds)
    view = view_of(result.graph)
    products = [node for node in result.graph.nodes if node.op == "MatMul"]
    assert len(products) == 6
    assert all(dequantizer(tensor, view) for node in products for tensor in node.inputs)
    written = planish.to_model(result.graph)
    session, operators = _optimized(written, tmp_path)
    assert "MatMul" not in operators
    wanted, plain = run_ort(model, feeds[0])["y"], run_ort(written, feeds[0])["y"]
    assert np.linalg.norm(plain - wanted) < 0.1 * np.linalg.norm(wanted)  # 20 dB
    found = session.run(None, feeds[0])[0]
    assert np.linalg.norm(found - plain) < 0.03 * np.linalg.norm(plain)


@pytest.mark.parametrize("text", [PAIR, SQUARE])
def test_a_product_of_graph_inputs(text):
    graph = planish.load(model_of(text))
    feeds = [{t.name: _normal(3, *t.shape[1:]) for t in graph.inputs} for _ in range(4)]
    result = _quantized(model_of(text), feeds)
    assert ops(result.graph).count("QuantizeLinear") == len(graph.inputs)
    wanted = run_ort(model_of(text), feeds[0])["y"]
    assert relative_error(wanted, run_ort(planish.to_model(result.graph), feeds[0])["y"]) < 0.03


def test_they_stay_float_unless_asked_for():
    feeds = [{"x": _normal(4, 16, 32)}]
    result = _quantized(_attention(17), feeds, "products=false")
    assert any("products=true" in reason for reason in reasons(result))
    view = view_of(result.graph)
    products = [node for node in result.graph.nodes if node.op == "MatMul"]
    assert sum(dequantizer(node.inputs[1], view) is not None for node in products) == 4


def test_signed_activations_would_saturate():
    feeds = [{"x": _normal(4, 16, 32)}]
    text = "quantize{measure=false,guard=off,products=true,activations=int8}"
    result = run_pass(planish.load(_attention(17)), text, feeds=feeds, target="cpu{isa=avx2}")
    assert any("saturate" in reason for reason in reasons(result))
    result = run_pass(
        planish.load(_attention(17)), text, feeds=feeds, target="cpu{isa=avx512-vnni}"
    )
    assert not any("saturate" in reason for reason in reasons(result))
