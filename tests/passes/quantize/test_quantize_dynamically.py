"""Products on integers whose inputs are quantized as they come."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import onnxruntime as ort
import pytest

import planish
from planish.passes.quantize.instruction_set import saturates

from tests.helpers import graph_of, model_of, ops, reasons, relative_error, run_ort, run_pass

R = np.random.default_rng(0)
BITS = 7 if saturates("cpu") else 8  # what this CPU's products get right
CHAIN = ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]


def _normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


def _by_hand(x, weight, bias, bits=BITS):
    """Quantize as the operators' specification says: the input in float32, the rest in float64."""
    low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
    step = np.float32((high - low) / np.float32(255))
    zero = np.clip(np.rint(-low / step), 0, 255)
    xq = (np.clip(np.rint(x / step) + zero, 0, 255) - zero).astype(np.float64)
    scale = (np.abs(weight).max(axis=0) / (2.0 ** (bits - 1) - 1)).astype(np.float32)
    wq = np.rint(weight.astype(np.float64) / scale)
    return (xq @ wq) * step * scale + bias


# body, [K, N] of the weight as stored, of which the product takes
CASES = {
    "MatMul": ("y = MatMul (x, w)", (300, 240), lambda w, b: (w, 0), CHAIN),
    "Gemm": ("y = Gemm (x, w, b)", (300, 240), lambda w, b: (w, b), [*CHAIN, "Add"]),
    "no bias": ("y = Gemm (x, w)", (300, 240), lambda w, b: (w, 0), CHAIN),
    "transposed, scaled": (
        "y = Gemm <transB = 1, alpha = 0.25, beta = 3.0> (x, w, b)", (240, 300),
        lambda w, b: (0.25 * w.T, 3 * b), [*CHAIN, "Add"]),
    "scaled, computed bias": (
        "a = Abs (b) y = Gemm <beta = 2.0> (x, w, a)", (300, 240),
        lambda w, b: (w, 2 * np.abs(b)), ["Abs", "DynamicQuantizeLinear", "MatMulInteger", "Cast",
                                         "Mul", "Mul", "Mul", "Add"]),
}  # fmt: skip


@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize("rows", ["3", "N"])
@pytest.mark.parametrize(("body", "shape", "means", "expected"), CASES.values(), ids=CASES)
def test_fires(body, shape, means, expected, rows, opset):
    weights = {"w": _normal(*shape), "b": _normal(240)}
    model = model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> '
        f"g (float[{rows}, 300] x) => (float[{rows}, 240] y) {{ {body} }}",
        {name: value for name, value in weights.items() if f"{name}" in body.split("(")[-1] + body},
    )
    result = run_pass(planish.load(model), "quantize-dynamically")
    assert sorted(ops(result.graph)) == sorted(expected)
    x = _normal(3, 300) + 0.5
    written = planish.to_model(result.graph)
    onnx.checker.check_model(written, full_check=True)
    by_hand = _by_hand(x, *means(weights["w"], weights["b"])).astype(np.float32)
    found = run_ort(written, {"x": x})["y"]
    assert relative_error(by_hand, found) < 1e-5
    assert (
        relative_error(by_hand, onnx.reference.ReferenceEvaluator(written).run(None, {"x": x})[0])
        < 1e-5
    )
    step = 2 ** (8 - BITS)
    assert 1e-4 * step < relative_error(run_ort(model, {"x": x})["y"], found) < 2e-2 * step


@pytest.mark.parametrize(
    ("target", "bits"),
    [("cpu{isa=avx2}", 7), ("cpu{isa=avx512}", 7), ("cpu{isa=avx512-vnni}", 8), ("cuda", 8)],
)
def test_products_that_would_saturate_get_weights_of_seven_bits(target, bits):
    weight, x = _normal(300, 240), _normal(4, 300)
    graph = graph_of(
        "g (float[N, 300] x) => (float[N, 240] y) { y = MatMul (x, w) }", {"w": weight}
    )
    result = planish.Pipeline.parse("quantize-dynamically").run(graph, verify="off", target=target)
    written = planish.to_model(result.graph)
    found = onnx.reference.ReferenceEvaluator(written).run(None, {"x": x})[0]
    assert relative_error(_by_hand(x, weight, 0, bits).astype(np.float32), found) < 1e-5
    told = [remark for remark in result.records[0].remarks if "saturate" in remark]
    assert len(told) == (bits == 7)


def test_bits_asked_for_are_kept_on_any_target():
    graph = graph_of(
        "g (float[N, 300] x) => (float[N, 240] y) { y = MatMul (x, w) }", {"w": _normal(300, 240)}
    )
    pipeline = planish.Pipeline.parse("quantize-dynamically{bits=8}")
    result = pipeline.run(graph, verify="off", target="cpu{isa=avx2}")
    q = next(t for n in result.graph.nodes for t in n.inputs if t.dtype == np.int8)
    assert (q.values.min(), q.values.max()) == (-127, 127)
    assert not result.records[0].remarks


def test_nothing_is_told_of_bits_where_nothing_is_quantized():
    graph = graph_of("g (float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }")
    result = planish.Pipeline.parse("quantize-dynamically").run(graph, target="cpu{isa=avx2}")
    assert not any("bits" in remark for remark in result.records[0].remarks)


def test_more_axes_than_two():
    model = model_of(
        "g (float[B, 7, 300] x) => (float[B, 7, 240] y) { m = MatMul (x, w) y = Add (m, b) }",
        {"w": _normal(300, 240), "b": _normal(240)},
    )
    result = run_pass(planish.load(model), "quantize-dynamically")
    assert sorted(ops(result.graph)) == sorted([*CHAIN, "Add"])
    x = _normal(2, 7, 300)
    expected, found = (run_ort(m, {"x": x})["y"] for m in (model, planish.to_model(result.graph)))
    assert relative_error(expected, found) < 2e-2


@pytest.mark.parametrize("body", ["y = Gemm (x, w, b)", "m = MatMul (x, w) y = Add (m, b)"])
def test_onnx_runtime_fuses_it_to_one_operator(tmp_path, body):
    graph = graph_of(
        f"g (float[N, 300] x) => (float[N, 240] y) {{ {body} }}",
        {"w": _normal(300, 240), "b": _normal(240)},
    )
    result = run_pass(graph, "quantize-dynamically")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(planish.to_model(result.graph).SerializeToString(), options)
    run = [n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert run == ["DynamicQuantizeMatMul"]


def test_seven_bits():
    model = model_of(
        "g (float[N, 300] x) => (float[N, 240] y) { y = MatMul (x, w) }", {"w": _normal(300, 240)}
    )
    result = run_pass(planish.load(model), "quantize-dynamically{bits=7}")
    q = next(t for n in result.graph.nodes for t in n.inputs if t.dtype == np.int8)
    assert (q.values.min(), q.values.max()) == (-63, 63)
    x, weight = _normal(4, 300), onnx.numpy_helper.to_array(model.graph.initializer[0])
    found = run_ort(planish.to_model(result.graph), {"x": x})["y"]
    assert relative_error(_by_hand(x, weight, 0, bits=7).astype(np.float32), found) < 1e-5


BIG = {"w": (300, 240)}
LEFT = {
    "small": ("float[N, 30] x", "y = MatMul (x, w)", {"w": (30, 24)}, "",
              "its weight has 720 values, and below 65536 quantizing the input costs more than it "
              "saves"),
    "computed": ("float[N, 300] x, float[300, 240] w", "y = MatMul (x, w)", {}, "",
                 "its weight is not constant"),
    "transposed input": ("float[300, N] x", "y = Gemm <transA = 1> (x, w)", BIG, "",
                         "its input is transposed"),
    "batched": ("float[2, N, 300] x", "y = MatMul (x, w)", {"w": (2, 300, 240)}, "",
                "its weight is no matrix"),
    "Conv": ("float[N, 8, 5, 5] x", "y = Conv (x, w)", {"w": (8, 8, 3, 3)}, "",
             "convolutions on integers need ranges: `quantize` calibrates them"),
    "not named": ("float[N, 300] x", "y = MatMul (x, w)", BIG, "{operators=[Gemm]}",
                  "operators does not name MatMul"),
    "excluded": ("float[N, 300] x", "y = MatMul (x, w)", BIG, "{exclude=[named]}",
                 "it is excluded"),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "body", "shapes", "options", "reason"), LEFT.values(), ids=LEFT)
def test_leaves_alone(inputs, body, shapes, options, reason):
    graph = graph_of(
        f"g ({inputs}) => (float[] y) {{ {body} }}", {k: _normal(*s) for k, s in shapes.items()}
    )
    graph.nodes[0].name = "named"
    result = run_pass(graph, "quantize-dynamically" + options)
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_old_opsets_have_no_such_operator():
    model = model_of(
        '<ir_version: 5, opset_import: ["" : 10]> '
        "g (float[N, 300] x) => (float[N, 240] y) { y = MatMul (x, w) }",
        {"w": _normal(300, 240)},
    )
    result = run_pass(planish.load(model), "quantize-dynamically")
    assert reasons(result) == {"opset 10 has no DynamicQuantizeLinear; it came with 11"}
